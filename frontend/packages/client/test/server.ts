/** The real server as a child process, in a directory of its own; `kill` and `start` again is what a crash is. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const START_MS = 30_000
const LINES_KEPT = 200
const OURS = /^(FOREBAY_|PARALLEL_UPLOAD_|ENABLE_PARALLEL)/
const own = join(import.meta.dirname, '../../../../.venv/bin/python')
const python = existsSync(own) ? own : 'python3'

export class Server {
  readonly directory = mkdtempSync(join(tmpdir(), 'forebay-client-'))
  port = 0
  readonly #settings: Record<string, string>
  #process: ChildProcess | null = null

  constructor(settings: Record<string, string> = {}) {
    this.#settings = settings
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}/api/v1`
  }

  /** Start it, and resolve when it listens; on the same port as before. */
  async start(settings: Record<string, string> = {}): Promise<this> {
    const child = spawn(python, ['-m', 'app', 'serve'], {
      cwd: this.directory,
      env: this.#environment({ ...settings, FOREBAY_PORT: String(this.port) }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process = child
    const said: string[] = []
    const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
    try {
      this.port = await new Promise<number>((resolve, reject) => {
        child.once('exit', (code) => reject(new Error(`the server ended with ${code}:\n${said.join('\n')}`)))
        for (const input of [child.stdout, child.stderr]) {
          createInterface({ input }).on('line', (line) => {
            if (said.length < LINES_KEPT) said.push(line)
            if (line.includes('"listening"')) resolve(Number(JSON.parse(line).port))
          })
        }
      })
    } finally {
      clearTimeout(timer)
    }
    return this
  }

  /** What the operator's command line says. */
  async command(...words: string[]): Promise<string> {
    const options = { cwd: this.directory, env: this.#environment({}) }
    return (await promisify(execFile)(python, ['-m', 'app', ...words], options)).stdout
  }

  /** End it as a crash does. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  /** Stop it and remove what it kept. */
  async close(): Promise<void> {
    await this.#end('SIGTERM')
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** The names of the files at the default destination. */
  files(): Promise<string[]> {
    return readdir(join(this.directory, 'var/files')).then((names) =>
      names.filter((name) => !name.startsWith('.')),
    )
  }

  content(name: string): AsyncIterable<Buffer> {
    return createReadStream(join(this.directory, 'var/files', name))
  }

  async size(name: string): Promise<number> {
    const file = await open(join(this.directory, 'var/files', name))
    try {
      return (await file.stat()).size
    } finally {
      await file.close()
    }
  }

  #environment(settings: Record<string, string>): NodeJS.ProcessEnv {
    const inherited = Object.entries(process.env).filter(([name]) => !OURS.test(name))
    return { ...Object.fromEntries(inherited), PYTHONUNBUFFERED: '1', ...this.#settings, ...settings }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    this.#process = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    child.kill(signal)
    await once(child, 'exit')
  }
}
