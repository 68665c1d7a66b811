/**
 * Sending what is missing: one plan, several lanes.
 *
 * Laws: a chunk is sent only while the plan holds and the server misses it. After a connection that broke with bytes
 * under way the server is asked before the chunk is repeated, since it may have been taken. What shows that the plan no
 * longer fits (409, 404) ends the round: no lane takes another chunk, those in flight end, and the caller asks and plans
 * anew.
 */

import { contentDigest } from './crc32c.ts'
import { ForebayError, isConnectionFailure, isOutdated } from './errors.ts'
import type { Api } from './http.ts'
import { Gate, type LanePool } from './lanes.ts'
import type { Flight, Meter } from './meter.ts'
import { type Chunk, isMissing } from './plan.ts'
import type { Reader } from './reader.ts'
import type { Retrier } from './retrier.ts'
import type { ServerUpload } from './types.ts'

const DIGEST_ATTEMPTS = 3
const AT_WORK_MS = 1000 // bytes that leave in the first moment may only have gone into a buffer

const YIELDED = new DOMException('Another chunk waits in the queue for all.', 'AbortError')

export interface RoundHost {
  readonly api: Api
  readonly pool: LanePool
  readonly meter: Meter
  readonly reader: Reader
  readonly retrier: Retrier
  /** Bytes went out, or chunks changed their state. */
  moved(): void
}

/** What is known of a chunk from one attempt to the next. */
interface Known {
  chunk: Chunk
  /** Bytes were under way when the connection broke. */
  unsure: boolean
  mismatches: number
}

/** One plan of one upload in one mode. Used once. */
export class Round {
  readonly #host: RoundHost
  readonly #info: ServerUpload
  readonly #queue: Chunk[]
  readonly #lanes: number
  readonly #gate: Gate
  readonly #flights = new Map<Flight, AbortController>()
  #outdated: ForebayError | null = null
  #achieved = false

  constructor(host: RoundHost, info: ServerUpload, chunks: Chunk[]) {
    this.#host = host
    this.#info = info
    this.#queue = [...chunks]
    const most = info.mode === 'sequential' ? 1 : Math.min(info.max_concurrent_chunks, host.pool.size)
    this.#lanes = Math.max(1, Math.min(most, chunks.length))
    this.#gate = new Gate(this.#lanes)
  }

  get busy(): boolean {
    return this.#flights.size > 0
  }

  /** When the last byte moved, of those that are under way (ms); null: none are. */
  get movedAt(): number | null {
    return this.busy ? Math.max(...[...this.#flights.keys()].map((flight) => flight.movedAt)) : null
  }

  /**
   * Send until everything has arrived or the plan is out of date.
   *
   * @throws ForebayError a chunk can't be sent, or (409) the plan was out of date before anything arrived
   */
  async run(signal: AbortSignal): Promise<void> {
    this.#host.meter.lanes = this.#gate.limit
    const own = new AbortController()
    const both = AbortSignal.any([signal, own.signal])
    let failure: { error: unknown } | null = null
    const lane = () =>
      this.#lane(both).catch((error) => {
        failure ??= { error }
        own.abort(error)
      })
    await Promise.all(Array.from({ length: this.#lanes }, lane))
    signal.throwIfAborted()
    if (failure !== null) throw (failure as { error: unknown }).error
    if (this.#outdated !== null && !this.#achieved) throw this.#outdated
  }

  /** While the server has no slot for the upload, one chunk waits there for all, and the others' lanes are free. */
  queued(on: boolean): void {
    this.#gate.narrow(on)
    if (!on) return
    const [, ...others] = [...this.#flights.entries()].sort(([a], [b]) => a.number - b.number)
    for (const [, controller] of others) controller.abort(YIELDED)
  }

  /** Give up on bodies of which nothing has moved since `moment` (ms): the network under them is gone. */
  suspect(moment: number): void {
    for (const [flight, controller] of this.#flights) {
      if (flight.movedAt < moment) {
        controller.abort(
          new ForebayError('connection-failed', 'The connection did not survive the interruption.'),
        )
      }
    }
  }

  async #lane(signal: AbortSignal): Promise<void> {
    for (let chunk = this.#queue.shift(); chunk !== undefined; chunk = this.#queue.shift()) {
      if (this.#outdated !== null) return
      for (const soon of this.#queue.slice(0, this.#lanes)) this.#host.reader.prepare(soon, signal)
      try {
        await this.#bring(chunk, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof ForebayError)) throw error
        if (error.code === 'chunk-conflict') {
          throw new ForebayError(
            'file-changed',
            'The server holds other bytes of this file than it has now: it was changed since the upload began. Upload it again.',
            { status: error.status, cause: error },
          )
        }
        if (!isOutdated(error) && error.status !== 404) throw error
        this.#outdated = error
      }
    }
  }

  /** Attempt after attempt, until the server has the chunk or the plan is out of date. */
  async #bring(chunk: Chunk, signal: AbortSignal): Promise<void> {
    const known: Known = { chunk, unsure: false, mismatches: 0 }
    let ended = false
    while (!ended) {
      ended = await this.#host.retrier.persist((attempt) => this.#attempt(known, attempt, signal), signal)
    }
  }

  /** Send the chunk, unless the server turns out to have it; false when it gave way to the one that waits for all. */
  async #attempt(known: Known, attempt: number, signal: AbortSignal): Promise<boolean> {
    const { api, pool, reader } = this.#host
    const { chunk } = known
    if (this.#outdated !== null) return true
    if (known.unsure && !(await this.#isStillMissing(known, signal))) return true
    const piece = await reader.piece(chunk)
    if (attempt > 0) await reader.check(piece)
    const crc = await reader.digest(chunk, signal)
    const { wave, leave } = await this.#gate.enter(signal)
    try {
      const release = await pool.acquire(this.#host, signal)
      const own = new AbortController()
      const flight = this.#host.meter.begin(chunk.number, Date.now())
      this.#flights.set(flight, own)
      try {
        if (this.#outdated !== null) return true
        const digest = crc === null ? null : contentDigest(crc)
        const onSent = (sent: number) => this.#sent(flight, sent)
        this.#host.moved()
        await api.putChunk(
          this.#info.id,
          chunk.number,
          piece,
          digest,
          onSent,
          AbortSignal.any([signal, own.signal]),
        )
        this.#arrived(chunk)
      } catch (error) {
        if (own.signal.reason === YIELDED && !signal.aborted) return false
        this.#failed(known, flight, wave, error)
        throw error
      } finally {
        this.#flights.delete(flight)
        this.#host.meter.end(flight)
        release()
      }
    } finally {
      leave()
    }
    return true
  }

  #failed(known: Known, flight: Flight, wave: number, error: unknown): void {
    if (!(error instanceof ForebayError)) return
    if (isConnectionFailure(error)) {
      // Where the platform tells no progress, bytes may have gone all the same.
      known.unsure = true
      if (flight.sent > 0) {
        this.#gate.shrink(wave)
        this.#host.meter.lanes = this.#gate.limit
      }
    } else if (error.code === 'digest-mismatch') {
      this.#host.reader.forget(known.chunk)
      if (++known.mismatches < DIGEST_ATTEMPTS) return
      throw new ForebayError(
        'verification-failed',
        `Chunk ${known.chunk.number} arrived damaged ${known.mismatches} times. Something between here and the server changes bytes; check memory, disk and network.`,
        { requestId: error.requestId, cause: error },
      )
    }
  }

  /** Ask about a chunk whose last answer was lost; one that has arrived is accounted for. */
  async #isStillMissing(known: Known, signal: AbortSignal): Promise<boolean> {
    const info = await this.#host.api.get(this.#info.id, signal)
    known.unsure = false
    this.#host.retrier.succeeded()
    if (!isMissing(known.chunk, info.missing)) {
      this.#arrived(known.chunk)
      return false
    }
    if (info.mode !== this.#info.mode) {
      this.#outdated = new ForebayError('mode-changed', `The server's mode is ${info.mode} now.`, {
        status: 409,
      })
      return false
    }
    return true
  }

  #sent(flight: Flight, bytes: number): void {
    const now = Date.now()
    this.#host.meter.moved(flight, bytes, now)
    if (now - flight.startedAt > AT_WORK_MS) this.#host.retrier.moved()
    this.#host.moved()
  }

  #arrived(chunk: Chunk): void {
    this.#achieved = true
    this.#gate.narrow(false)
    this.#gate.grow()
    const { meter, retrier } = this.#host
    meter.lanes = this.#gate.limit
    meter.queuePosition = null
    meter.acknowledged(chunk.number, chunk.length, Date.now())
    retrier.succeeded()
    this.#host.moved()
  }
}
