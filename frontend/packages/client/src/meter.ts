/** Counts what happens to one upload. `received` follows acknowledgements, `stored` the server's word; neither is guessed. */

import { chunkCount, fillChunkMap } from './plan.ts'
import { Rate } from './rate.ts'
import { CHUNK_IN_FLIGHT, CHUNK_MISSING, CHUNK_RECEIVED, type Progress, type ServerUpload } from './types.ts'

/** A body on its way. */
export interface Flight {
  number: number
  sent: number
  startedAt: number
  movedAt: number
}

export class Meter {
  readonly #total: number
  readonly #onChunk: (number: number, state: 0 | 1 | 2) => void
  readonly #rate = new Rate()
  readonly #flights = new Set<Flight>()
  #received = 0
  #stored = 0
  #storing = false
  #states = new Uint8Array(0)
  #chunkSize = 0
  queuePosition: number | null = null
  retries = 0
  lanes = 0

  constructor(total: number, onChunk: (number: number, state: 0 | 1 | 2) => void) {
    this.#total = total
    this.#onChunk = onChunk
  }

  get stored(): number {
    return this.#stored
  }

  /** The server said where it stands; nothing is in flight. */
  asked(info: ServerUpload, now: number): void {
    const count = chunkCount(this.#total, info.chunk_size)
    if (this.#states.length !== count) this.#states = new Uint8Array(count)
    this.#chunkSize = info.chunk_size
    this.#received = info.bytes_received
    fillChunkMap(this.#states, this.#total, info.chunk_size, info.missing, info.bytes_received)
    const storing = info.missing.length === 0
    if (storing !== this.#storing) this.#rate.reset()
    this.#storing = storing
    this.overheard(info.bytes_transferred, info.queue_position)
    this.#rate.add(this.#moving(), now)
  }

  /** The server said how much is at the destination, while chunks may be in flight. */
  overheard(stored: number, queuePosition: number | null = this.queuePosition): void {
    this.#stored = stored
    this.queuePosition = queuePosition
  }

  /** A body is being sent: what of it is on the way counts until it has arrived or failed. */
  begin(number: number, now: number): Flight {
    const flight = { number, sent: 0, startedAt: now, movedAt: now }
    this.#flights.add(flight)
    this.#mark(number, CHUNK_IN_FLIGHT)
    return flight
  }

  moved(flight: Flight, sent: number, now: number): void {
    flight.sent = sent
    flight.movedAt = now
    this.#rate.add(this.#moving(), now)
  }

  /** It failed, or was ended. */
  end(flight: Flight): void {
    if (!this.#flights.delete(flight)) return
    if (this.#states[flight.number] === CHUNK_IN_FLIGHT) this.#mark(flight.number, CHUNK_MISSING)
  }

  /** A chunk is kept by the server. */
  acknowledged(number: number, length: number, now: number): void {
    for (const flight of this.#flights) if (flight.number === number) this.#flights.delete(flight)
    if (this.#states[number] === CHUNK_RECEIVED) return
    this.#received += length
    this.#mark(number, CHUNK_RECEIVED)
    this.#rate.add(this.#moving(), now)
  }

  /** After a pause: what was before says nothing about the rate. */
  rest(): void {
    this.#rate.reset()
  }

  progress(now: number): Progress {
    const rate = this.#rate.perSecond(this.#moving(), now)
    const left = this.#total - this.#moving()
    return {
      received: this.#received,
      sent: this.#sent(),
      stored: this.#stored,
      total: this.#total,
      rate,
      secondsLeft: left === 0 ? 0 : rate > 0 ? left / rate : null,
      chunks: { count: this.#states.length, size: this.#chunkSize, states: this.#states },
      queuePosition: this.queuePosition,
      retries: this.retries,
      lanes: this.lanes,
    }
  }

  #sent(): number {
    let sent = this.#received
    for (const flight of this.#flights) sent += flight.sent
    return Math.min(this.#total, sent)
  }

  #moving(): number {
    return this.#storing ? this.#stored : this.#sent()
  }

  #mark(number: number, state: 0 | 1 | 2): void {
    this.#states[number] = state
    this.#onChunk(number, state)
  }
}
