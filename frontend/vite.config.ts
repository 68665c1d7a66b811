import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, gzip } from 'node:zlib'
import { defaultClientConditions, defaultServerConditions, type Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

const OUT = join(import.meta.dirname, '../backend/app/web/static')
const SERVER = process.env.FOREBAY_DEV_SERVER ?? 'http://127.0.0.1:8000'
const SOURCE = 'forebay-source' // in the packages' `exports`: their TypeScript, so that nothing is built before the page

/** Writes `.br` and `.gz` beside every text file of the build, where they are smaller. */
function precompress(): Plugin {
  return {
    name: 'forebay-precompress',
    apply: 'build',
    async writeBundle({ dir = OUT }) {
      for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(html|js|css|svg|json|webmanifest)$/.test(entry.name)) continue
        const path = join(entry.parentPath, entry.name)
        const plain = await readFile(path)
        const forms = {
          br: await promisify(brotliCompress)(plain),
          gz: await promisify(gzip)(plain, { level: 9 }),
        }
        for (const [suffix, packed] of Object.entries(forms)) {
          if (packed.length < plain.length) await writeFile(`${path}.${suffix}`, packed)
        }
      }
    },
  }
}

export default defineConfig({
  plugins: [precompress()],
  resolve: { conditions: [SOURCE, ...defaultClientConditions] },
  ssr: { resolve: { conditions: [SOURCE, ...defaultServerConditions] } },
  worker: { format: 'es' },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // the Content-Security-Policy has no place for code or styles in data: addresses
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: join(import.meta.dirname, 'index.html'), ops: join(import.meta.dirname, 'ops.html') },
    },
  },
  server: { proxy: { '/api': { target: SERVER, headers: { origin: SERVER } } } },
  test: {
    environment: 'node',
    include: ['packages/*/test/**/*.test.ts', 'test/**/*.test.ts', 'src/**/*.test.ts'],
    testTimeout: 60_000,
  },
})
