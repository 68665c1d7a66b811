import { createHash } from 'node:crypto'
import type { Source, Upload, UploadState } from '../src/index.ts'

/** Bytes that repeat nowhere within a chunk; made from their position, so that nothing is kept. */
export function bytesAt(start: number, end: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(end - start)
  for (let index = 0; index < bytes.length; index++) {
    const at = start + index
    bytes[index] = (at ^ (at >>> 8) ^ (at >>> 17) ^ ((at * 2654435761) >>> 24)) & 255
  }
  return bytes
}

export function source(name: string, size: number, more: Partial<Source> = {}): Source {
  return { name, size, read: (start, end) => bytesAt(start, end), ...more }
}

export async function sha256(content: AsyncIterable<Uint8Array> | Uint8Array): Promise<string> {
  const hash = createHash('sha256')
  if (content instanceof Uint8Array) hash.update(content)
  else for await (const piece of content) hash.update(piece)
  return hash.digest('hex')
}

/** Resolves when `found` gives something true, looked at after each event of the upload. */
export function reached<T>(
  upload: Upload,
  found: () => T | null | undefined | false,
  timeoutMs = 30_000,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const ends: (() => void)[] = []
    const timer = setTimeout(() => {
      for (const end of ends) end()
      reject(new Error(`not reached; the upload is ${upload.state}`))
    }, timeoutMs)
    const look = () => {
      const value = found()
      if (!value) return
      clearTimeout(timer)
      for (const end of ends.splice(0)) end()
      resolve(value)
    }
    for (const event of ['state', 'progress', 'chunk', 'waiting', 'created', 'done', 'error'] as const) {
      ends.push(upload.on(event, look))
    }
    look()
  })
}

export function inState(upload: Upload, ...states: UploadState[]): Promise<boolean> {
  return reached(upload, () => states.includes(upload.state))
}
