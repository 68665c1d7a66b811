/** Reads the source and computes its digests; what fails there ends the upload, since no repetition helps. */

import { crc32cJoin } from './crc32c.ts'
import { ForebayError } from './errors.ts'
import { type Chunk, chunkAt } from './plan.ts'
import type { Digester, Source } from './types.ts'

export type Piece = Blob | Uint8Array<ArrayBuffer>

export class Reader {
  readonly #source: Source
  readonly #digester: Digester | null
  readonly #known = new Map<number, number>() // CRC32C of each chunk read, by number
  readonly #ahead = new Map<number, Promise<number>>()
  readonly #cut = new Map<number, Blob>() // of chunks whose turn is soon: cutting one waits for the browser's main process

  constructor(source: Source, digester: Digester | null) {
    this.#source = source
    this.#digester = digester
  }

  /** The chunk's bytes; a `Blob` stays where it is until it is sent. */
  async piece(chunk: Chunk): Promise<Piece> {
    const cut = this.#cut.get(chunk.number)
    if (cut !== undefined) {
      this.#cut.delete(chunk.number)
      return cut
    }
    const piece = await this.#reading(async () =>
      this.#source.read(chunk.offset, chunk.offset + chunk.length),
    )
    const length = piece instanceof Blob ? piece.size : piece.length
    if (length !== chunk.length) throw unreadable(this.#source.name)
    return piece
  }

  /** Whether the piece can still be read: a browser tells a failed upload only that the connection broke. */
  async check(piece: Piece): Promise<void> {
    if (piece instanceof Blob) await this.#reading(() => piece.slice(0, 1).arrayBuffer())
  }

  /** The chunk's CRC32C; null when none is wanted. */
  async digest(chunk: Chunk, signal: AbortSignal): Promise<number | null> {
    const known = this.#known.get(chunk.number)
    if (this.#digester === null || known !== undefined) return known ?? null
    return this.#begun(this.#digester, chunk, signal)
  }

  /** Begin with the digest of a chunk whose turn is soon. */
  prepare(chunk: Chunk, signal: AbortSignal): void {
    if (this.#digester === null || this.#known.has(chunk.number)) return
    this.#begun(this.#digester, chunk, signal, true).catch(() => {}) // told to whoever asks for it
  }

  /** What was computed is doubted: read again. */
  forget(chunk: Chunk): void {
    this.#known.delete(chunk.number)
  }

  /** Nothing that was read counts any more. */
  reset(): void {
    this.#known.clear()
    this.#cut.clear()
  }

  /** CRC32C of the whole file, from its chunks, reading those that were not sent from here; null when none is wanted. */
  async whole(chunkSize: number, signal: AbortSignal): Promise<number | null> {
    if (this.#digester === null) return null
    const { size } = this.#source
    let crc = 0
    for (let number = 0; number * chunkSize < size; number++) {
      const chunk = chunkAt(size, chunkSize, number)
      crc = crc32cJoin(crc, (await this.digest(chunk, signal)) as number, chunk.length)
    }
    return crc
  }

  /** `keep`: it is sent soon, too. */
  #begun(digester: Digester, chunk: Chunk, signal: AbortSignal, keep = false): Promise<number> {
    const begun = this.#ahead.get(chunk.number)
    if (begun !== undefined) return begun
    const digest = this.piece(chunk)
      .then((piece) => {
        if (keep && piece instanceof Blob) this.#cut.set(chunk.number, piece)
        return this.#reading(() => digester.crc32c(piece, signal))
      })
      .then((crc) => {
        this.#known.set(chunk.number, crc)
        return crc
      })
      .finally(() => this.#ahead.delete(chunk.number))
    this.#ahead.set(chunk.number, digest)
    return digest
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') throw error
      throw unreadable(this.#source.name, error)
    }
  }
}

function unreadable(name: string, cause?: unknown): ForebayError {
  const detail = `${name} can't be read: it was changed, moved or removed since it was chosen. Choose it again.`
  return new ForebayError('file-unreadable', detail, { cause })
}
