/** Where digests are computed: on this thread in small steps, or in a worker. */

import { crc32c } from './crc32c.ts'
import type { Digester } from './types.ts'

const PIECE_BYTES = 1024 * 1024 // some milliseconds of one core

type Piece = Blob | Uint8Array<ArrayBuffer>

/** Reads a piece of a file step by step, so that never more than `PIECE_BYTES` of it are in memory. */
export async function crc32cOfPiece(piece: Piece, signal?: AbortSignal): Promise<number> {
  const size = piece instanceof Blob ? piece.size : piece.length
  let crc = 0
  for (let at = 0; at < size; at += PIECE_BYTES) {
    signal?.throwIfAborted()
    if (piece instanceof Blob) {
      crc = crc32c(new Uint8Array(await piece.slice(at, at + PIECE_BYTES).arrayBuffer()), crc)
    } else {
      crc = crc32c(piece.subarray(at, at + PIECE_BYTES), crc)
      await new Promise((resolve) => setTimeout(resolve))
    }
  }
  return crc
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
