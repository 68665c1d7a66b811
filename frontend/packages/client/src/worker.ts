/** Runs in a worker: digests of pieces of files, one after the other. See `workerDigester`. */

import { crc32cOfPiece, type DigestAnswer, type DigestRequest } from './digester.ts'

interface WorkerScope {
  onmessage: ((event: MessageEvent<DigestRequest>) => void) | null
  postMessage(answer: DigestAnswer): void
}

const scope = globalThis as unknown as WorkerScope

let before: Promise<void> = Promise.resolve()
const underway = new Map<number, AbortController>()

async function answer(id: number, piece: Blob | Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void> {
  try {
    scope.postMessage({ id, crc: await crc32cOfPiece(piece, signal) })
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error))
    scope.postMessage({ id, name, message })
  } finally {
    underway.delete(id)
  }
}

scope.onmessage = ({ data: { id, piece } }) => {
  if (piece === undefined) {
    underway.get(id)?.abort()
    return
  }
  const controller = new AbortController()
  underway.set(id, controller)
  before = before.then(() => answer(id, piece, controller.signal))
}
