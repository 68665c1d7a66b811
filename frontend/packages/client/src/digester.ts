/** Where digests are computed: on this thread in small steps, or in a worker. */

import { crc32c } from './crc32c.ts'
import type { Digester } from './types.ts'

const STEP_BYTES = 512 * 1024 // less than a millisecond of one core

type Piece = Blob | Uint8Array<ArrayBuffer>

/** Reads a piece of a file step by step, so that little of it is in memory, and nobody waits long for the thread. */
export async function crc32cOfPiece(piece: Piece, signal?: AbortSignal): Promise<number> {
  let crc = 0
  for await (const bytes of piece instanceof Blob ? streamed(piece) : cut(piece)) {
    signal?.throwIfAborted()
    crc = crc32c(bytes, crc)
  }
  return crc
}

/**
 * The blob's bytes as they come, each piece until the next one is asked for. One stream for the whole blob: each slice
 * of its own would cost a millisecond. One buffer, where the platform fills it: fresh memory for each piece costs about
 * as much as its checksum, and is given back only when the garbage collector finds time.
 */
async function* streamed(blob: Blob): AsyncGenerator<Uint8Array> {
  const reader = readerOf(blob.stream())
  try {
    for (let value = await reader.read(); value !== null; value = await reader.read()) yield value
  } finally {
    await reader.cancel().catch(() => {}) // what could not be read was told by `read`
  }
}

/** Reads the next bytes, null at the end; what it gave before may be overwritten then. */
function readerOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): {
  read(): Promise<Uint8Array | null>
  cancel(): Promise<void>
} {
  let filling: ReadableStreamBYOBReader
  try {
    filling = stream.getReader({ mode: 'byob' })
  } catch {
    const plain = stream.getReader() // Safari's blobs don't fill buffers
    return {
      read: async () => (await plain.read()).value ?? null,
      cancel: () => plain.cancel(),
    }
  }
  let buffer = new ArrayBuffer(STEP_BYTES)
  return {
    async read() {
      const { value, done } = await filling.read(new Uint8Array(buffer))
      if (done || value === undefined) return null
      buffer = value.buffer
      return value
    },
    cancel: () => filling.cancel(),
  }
}

async function* cut(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += STEP_BYTES) {
    yield bytes.subarray(at, at + STEP_BYTES)
    await new Promise((resolve) => setTimeout(resolve))
  }
}

/** Computes on the caller's thread. */
export function inlineDigester(): Digester {
  return { crc32c: crc32cOfPiece, close() {} }
}

/** To the worker; without a piece: nobody waits for that one any more. */
export type DigestRequest = { id: number; piece?: Piece }

/** From the worker. */
export type DigestAnswer = { id: number; crc: number } | { id: number; name: string; message: string }

/**
 * Computes in a worker that runs `@forebay/client/worker`, started at the first use.
 *
 * Where no worker can be started (a policy of the page, an old browser), it computes on the caller's thread.
 *
 * @param start makes the worker: `() => new Worker(new URL('@forebay/client/worker', import.meta.url), { type: 'module' })`
 */
export function workerDigester(start: () => Worker): Digester {
  let worker: Worker | null = null
  let broken = false
  let last = 0
  const asked = new Map<number, { piece: Piece; answer: (crc: number | Promise<number>) => void }>()

  function giveUp(): void {
    broken = true
    worker?.terminate()
    worker = null
    for (const { piece, answer } of asked.values()) answer(crc32cOfPiece(piece))
    asked.clear()
  }

  function running(): Worker {
    if (worker === null) {
      worker = start()
      worker.onmessage = ({ data }: MessageEvent<DigestAnswer>) => {
        const request = asked.get(data.id)
        asked.delete(data.id)
        request?.answer('crc' in data ? data.crc : Promise.reject(new DOMException(data.message, data.name)))
      }
      worker.onerror = giveUp
    }
    return worker
  }

  return {
    crc32c(piece, signal) {
      if (broken) return crc32cOfPiece(piece, signal)
      return new Promise((resolve, reject) => {
        signal?.throwIfAborted()
        const id = ++last
        const aborted = () => {
          asked.delete(id)
          worker?.postMessage({ id } satisfies DigestRequest)
          reject(signal?.reason)
        }
        signal?.addEventListener('abort', aborted, { once: true })
        const answer = (crc: number | Promise<number>) => {
          signal?.removeEventListener('abort', aborted)
          resolve(crc)
        }
        asked.set(id, { piece, answer })
        try {
          running().postMessage({ id, piece } satisfies DigestRequest)
        } catch {
          giveUp()
        }
      })
    },
    close() {
      worker?.terminate()
      worker = null
      for (const { answer } of asked.values()) {
        answer(Promise.reject(new DOMException('The digester was closed.', 'AbortError')))
      }
      asked.clear()
    },
  }
}
