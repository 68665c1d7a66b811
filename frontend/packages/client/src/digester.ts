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
 * The blob's bytes as they come. One stream for the whole piece: each slice of its own would cost a millisecond.
 *
 * Not into a buffer of ours (`getReader({ mode: 'byob' })`), though that takes a third of the memory and a quarter less
 * time: in Chromium 156 on a busy machine such a read of a file now and then never ended.
 */
async function* streamed(blob: Blob): AsyncGenerator<Uint8Array> {
  const reader = blob.stream().getReader()
  try {
    for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
      yield value
    }
  } finally {
    await reader.cancel().catch(() => {}) // what could not be read was told by `read`
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
