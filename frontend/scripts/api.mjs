// Writes the types of the API from the OpenAPI document of the server in this tree; with --check only compares.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import openapiTS, { astToString } from 'openapi-typescript'

const OUT = join(import.meta.dirname, '../packages/client/src/api.gen.ts')
const program = join(import.meta.dirname, '../../.venv/bin/forebay-server')
const server = existsSync(program) ? program : 'forebay-server'
const env = { PATH: process.env.PATH, PYTHONPATH: join(import.meta.dirname, '../../backend') }
const options = { cwd: tmpdir(), encoding: 'utf8', maxBuffer: 1 << 26, env }
const document = JSON.parse(execFileSync(server, ['openapi'], options))
const head = '// Written by `npm run api` from the OpenAPI document. Do not edit.\n\n'
const text = head + astToString(await openapiTS(document))

if (!process.argv.includes('--check')) {
  await writeFile(OUT, text)
} else if ((await readFile(OUT, 'utf8')) !== text) {
  console.error('packages/client/src/api.gen.ts is not what the server says: run `npm run api`')
  process.exit(1)
}
