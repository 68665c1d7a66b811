/** Which chunks to send, given what the server misses. Pure. */

import { CHUNK_MISSING, CHUNK_RECEIVED } from './types.ts'

/** `[start, end)` in bytes, as the server lists what it misses. */
export interface Span {
  start: number
  end: number
}

/** A numbered piece of the file; `offset = number * chunkSize`. */
export interface Chunk {
  number: number
  offset: number
  length: number
}

export function chunkCount(size: number, chunkSize: number): number {
  return Math.ceil(size / chunkSize)
}

export function chunkAt(size: number, chunkSize: number, number: number): Chunk {
  const offset = number * chunkSize
  return { number, offset, length: Math.min(chunkSize, size - offset) }
}

/**
 * The chunks of which at least one byte is missing, in order, each once: the server takes whole chunks only. `missing`
 * may come in any order, touch and overlap.
 */
export function missingChunks(size: number, chunkSize: number, missing: readonly Span[]): Chunk[] {
  const numbers = new Set<number>()
  for (const { start, end } of missing) {
    const low = Math.max(0, start)
    const high = Math.min(end, size)
    for (let number = Math.floor(low / chunkSize); number * chunkSize < high; number++) {
      if (low < high) numbers.add(number)
    }
  }
  return [...numbers].sort((a, b) => a - b).map((number) => chunkAt(size, chunkSize, number))
}

/** Whether a byte of the chunk is missing. */
export function isMissing(chunk: Chunk, missing: readonly Span[]): boolean {
  const end = chunk.offset + chunk.length
  return missing.some((span) => Math.max(span.start, chunk.offset) < Math.min(span.end, end))
}

/**
 * Fill `states` from what the server says. It lists a bounded number of ranges: where their sum falls short of what is
 * missing, everything behind the last of them counts as missing too.
 */
export function fillChunkMap(
  states: Uint8Array,
  size: number,
  chunkSize: number,
  missing: readonly Span[],
  received: number,
): void {
  states.fill(CHUNK_RECEIVED)
  const listed = missing.reduce((sum, span) => sum + span.end - span.start, 0)
  const spans = [...missing]
  if (listed + received < size) {
    spans.push({ start: Math.max(0, ...missing.map((span) => span.end)), end: size })
  }
  for (const chunk of missingChunks(size, chunkSize, spans)) states[chunk.number] = CHUNK_MISSING
}
