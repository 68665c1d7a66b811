/**
 * One file on its way to the destination: created or found again, sent, followed, verified.
 *
 * Laws
 * - The server's word decides what is sent: what it has, how its chunks are cut, its mode.
 * - Creation is repeated with the same Idempotency-Key, so a lost answer makes no second upload.
 * - `received` and `stored` are what the server acknowledged, never a guess; `completed` is said only when the server
 *   says so and, with digests, its checksum of the file equals that of the bytes read here.
 * - At any time at most one run is under way; it ends by itself, or by its signal (pause, cancel), and the next one
 *   waits for its end.
 */

import { onNetworkChange, sleep } from './clock.ts'
import { crc32cOf, sha256Of } from './crc32c.ts'
import { Emitter } from './emitter.ts'
import { ForebayError, isOutdated, isTransient } from './errors.ts'
import type { Api } from './http.ts'
import { newKey } from './key.ts'
import type { LanePool } from './lanes.ts'
import { Meter } from './meter.ts'
import { missingChunks } from './plan.ts'
import { Reader } from './reader.ts'
import { Retrier } from './retrier.ts'
import { Round } from './round.ts'
import type {
  Digester,
  Progress,
  Result,
  RetryPolicy,
  ServerUpload,
  Source,
  Upload,
  UploadEvent,
  UploadEventMap,
  UploadEvents,
  UploadOptions,
  UploadState,
  Waiting,
} from './types.ts'

const REPORT_MS = 100
const WATCH_MS = 1000
const ASLEEP_MS = 20_000 // a second that takes so long: the machine slept
const SURVIVES_MS = 5000 // a connection that moves nothing so long after the network came back is dead
const FOLLOW_FIRST_MS = 50
const FOLLOW_GROWTH = 1.3
const FOLLOW_LONGEST_MS = 2000
const FOLLOW_WITH_EVENTS_MS = 5000
const CANCEL_ATTEMPTS = 5

/** What the server has is of no use any more: another attempt is another upload. */
const LOST: ReadonlySet<string> = new Set(['upload-gone', 'file-changed', 'verification-failed'])
const ENDED: ReadonlySet<string> = new Set(['failed', 'cancelled', 'expired'])
const MEDIA_TYPE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+\/[!#$%&'*+.^_`|~0-9A-Za-z-]+( *; *[\x20-\x7e]+)?$/
const FINAL: ReadonlySet<UploadState> = new Set(['completed', 'failed', 'cancelled'])

/** What the uploads of one client share. */
export interface Shared {
  readonly api: Api
  readonly pool: LanePool
  readonly policy: RetryPolicy
  readonly digester: Digester | null
  readonly events: UploadEvents | null
  signIn(since: number): Promise<boolean>
}

interface Outcome {
  promise: Promise<Result>
  resolve(result: Result): void
  reject(error: ForebayError): void
}

function outcome(): Outcome {
  let settle: Pick<Outcome, 'resolve' | 'reject'> | undefined
  const promise = new Promise<Result>((resolve, reject) => {
    settle = { resolve, reject }
  })
  promise.catch(() => {}) // whoever only listens to events need not look at `done`
  return { promise, ...(settle as Pick<Outcome, 'resolve' | 'reject'>) }
}

/** An upload; made by `ForebayClient.upload`. */
export class UploadTask implements Upload {
  readonly api: Api
  readonly pool: LanePool
  readonly retrier: Retrier
  readonly reader: Reader
  meter: Meter

  readonly #shared: Shared
  readonly #source: Source
  readonly #options: UploadOptions
  readonly #emitter = new Emitter<UploadEventMap>()
  #id: string | null
  #key: string
  #info: ServerUpload | null = null
  /** Where it stands while nothing runs; null: what runs says it. */
  #resting: UploadState | null = 'idle'
  #told: UploadState = 'idle'
  #problem: Waiting | null = null
  #toldWaiting: Waiting | null = null
  #reportedAt = 0
  #round: Round | null = null
  #run: AbortController | null = null
  #running: Promise<void> = Promise.resolve()
  #creating: Promise<ServerUpload> | null = null
  #cancelling: Promise<void> | null = null
  /** Something happened that the last answer may not tell; `#wake` ends the wait for it. */
  #news = false
  #wake = () => {}
  #done = outcome()

  constructor(shared: Shared, source: Source, options: UploadOptions) {
    this.#shared = shared
    this.#source = source
    this.#options = options
    this.#id = options.uploadId ?? null
    this.#key = options.idempotencyKey ?? newKey()
    this.api = shared.api
    this.pool = shared.pool
    this.reader = new Reader(source, shared.digester)
    this.meter = this.#newMeter()
    this.retrier = new Retrier(shared.policy, {
      busy: () => this.#round?.busy ?? false,
      changed: (retried) => {
        if (retried) this.meter.retries++
        this.#report(true)
      },
      signIn: (since) => shared.signIn(since),
    })
    options.signal?.addEventListener('abort', () => void this.cancel().catch(() => {}), { once: true })
  }

  get id(): string | null {
    return this.#id
  }

  get state(): UploadState {
    return this.#told
  }

  get progress(): Progress {
    return this.meter.progress(Date.now())
  }

  get waiting(): Waiting | null {
    return this.#resting === null ? (this.retrier.trouble ?? this.#problem) : null
  }

  get done(): Promise<Result> {
    return this.#done.promise
  }

  on<K extends keyof UploadEventMap>(event: K, listener: (value: UploadEventMap[K]) => void): () => void {
    return this.#emitter.on(event, listener)
  }

  start(): void {
    if (this.#resting === 'idle') this.#go()
  }

  pause(): void {
    if (this.#resting !== null || this.#told === 'storing') return
    this.#stop('paused')
  }

  resume(): void {
    if (this.#resting === 'paused') this.#go()
    else if (this.#resting === null) this.retrier.wake()
  }

  retry(): void {
    if (this.#resting !== 'failed') return
    if (this.#id === null) this.meter = this.#newMeter()
    this.#done = outcome()
    this.#go()
  }

  cancel(): Promise<void> {
    this.#cancelling ??= this.#cancel().finally(() => {
      this.#cancelling = null
    })
    return this.#cancelling
  }

  /** Bytes went out, or chunks changed their state. */
  moved(): void {
    this.#report(false)
  }

  // -- starting and stopping ---------------------------------------------------------------------------------------

  #go(): void {
    const run = new AbortController()
    const before = this.#running
    this.#run = run
    this.#resting = null
    this.#problem = null
    this.retrier.clear()
    this.retrier.renew()
    this.meter.rest()
    this.#report(true)
    this.#running = before.then(() => this.#underway(run.signal))
  }

  #stop(resting: UploadState): void {
    this.#resting = resting
    this.#run?.abort(new DOMException('The upload was stopped.', 'AbortError'))
    this.#run = null
    this.meter.queuePosition = null
    this.retrier.clear()
    this.#report(true)
  }

  async #underway(signal: AbortSignal): Promise<void> {
    const own = new AbortController() // ends what runs beside the upload
    const both = AbortSignal.any([signal, own.signal])
    const deaf = onNetworkChange((online) => this.#networkChanged(online, both))
    try {
      void this.#watch(both).catch(() => {})
      const info = await this.#bring(signal)
      const result = await this.#verified(info, signal)
      this.#stop('completed')
      this.#emitter.emit('done', result)
      this.#done.resolve(result)
    } catch (error) {
      if (!signal.aborted) this.#fail(error) // else whoever stopped it has said what it is now
    } finally {
      own.abort()
      deaf()
    }
  }

  #fail(thrown: unknown): void {
    const error =
      thrown instanceof ForebayError
        ? thrown
        : new ForebayError('error', `The upload failed: ${String(thrown)}`, { cause: thrown })
    if (LOST.has(error.code) || ENDED.has(this.#info?.state ?? '')) {
      this.#id = null
      this.#info = null
      this.#key = newKey()
      this.reader.reset()
    }
    this.#stop('failed')
    this.#emitter.emit('error', error)
    this.#done.reject(error)
  }

  async #cancel(): Promise<void> {
    if (this.#resting !== null && FINAL.has(this.#resting) && this.#resting !== 'failed') return
    const creating = this.#creating
    const ended = this.#running
    this.#stop('cancelled')
    await ended
    // What is being created just now has a name soon; with the same key it is the same upload.
    const id = this.#id ?? (await creating?.then((info) => info.id).catch(() => null)) ?? null
    try {
      if (id !== null) await this.#remove(id)
    } finally {
      if (this.#resting === 'cancelled') {
        this.#done.reject(new ForebayError('cancelled', `The upload of ${this.#source.name} was cancelled.`))
      }
    }
  }

  async #remove(id: string): Promise<void> {
    const { signal } = new AbortController()
    let failures = 0
    const may = (error: ForebayError) => isTransient(error) && ++failures < CANCEL_ATTEMPTS
    try {
      await this.retrier.persist(() => this.api.cancel(id, signal), signal, may)
    } catch (error) {
      if (!(error instanceof ForebayError)) throw error
      if (error.status === 404) return
      if (error.status !== 409) throw error
      const info = await this.retrier.persist(() => this.api.get(id, signal), signal, may)
      if (info.state !== 'completed') return
      this.meter.asked(info, Date.now())
      const result = this.#result(info, false)
      this.#stop('completed')
      this.#emitter.emit('done', result)
      this.#done.resolve(result)
    }
  }

  // -- bringing it there -------------------------------------------------------------------------------------------

  async #bring(signal: AbortSignal): Promise<ServerUpload> {
    const resumed = this.#id !== null
    let info = this.#id === null ? await this.#create(signal) : await this.#ask(this.#id, signal)
    this.#adopt(info, resumed)
    const unlisten = this.#shared.events?.subscribe(
      info.id,
      (news) => this.#hear(news),
      () => this.#heardNews(),
    )
    try {
      for (;;) {
        this.#look(info)
        if (info.state === 'completed') return info
        if (info.missing.length > 0) await this.#send(info, signal)
        else await this.#follow(info, signal)
        info = this.#info?.state === 'completed' ? this.#info : await this.#ask(info.id, signal)
      }
    } finally {
      unlisten?.()
    }
  }

  #hear(news: UploadEvent): void {
    if (news.event === 'progress') {
      if (news.data.bytes_transferred > this.meter.stored) this.retrier.renew()
      this.meter.overheard(news.data.bytes_transferred)
      this.#report(false)
    } else if (news.event === 'done' || news.data.state !== this.#info?.state) {
      this.#heardNews()
    }
  }

  #heardNews(): void {
    this.#news = true
    this.#wake()
  }

  async #create(signal: AbortSignal): Promise<ServerUpload> {
    const { name, size, path, type } = this.#source
    const body = {
      filename: name,
      size,
      ...(path ? { path } : {}),
      ...(type && MEDIA_TYPE.test(type) ? { media_type: type } : {}),
      ...(this.#options.destination === undefined ? {} : { destination: this.#options.destination }),
      ...(this.#options.onConflict === undefined ? {} : { on_conflict: this.#options.onConflict }),
    }
    const { signal: unending } = new AbortController()
    return this.retrier.persist(() => {
      // Not ended with the run: a creation under way is better known by its name than repeated.
      this.#creating ??= this.api.create(body, this.#key, unending).finally(() => {
        this.#creating = null
      })
      return withSignal(this.#creating, signal)
    }, signal)
  }

  async #ask(id: string, signal: AbortSignal): Promise<ServerUpload> {
    this.#news = false
    try {
      const info = await this.retrier.persist(() => this.api.get(id, signal), signal)
      this.retrier.succeeded()
      return info
    } catch (error) {
      if (!(error instanceof ForebayError) || error.status !== 404 || error.code !== 'not-found') throw error
      const detail = `The server does not know the upload of ${this.#source.name} any more. Start it again.`
      throw new ForebayError('upload-gone', detail, { status: 404, cause: error })
    }
  }

  #adopt(info: ServerUpload, resumed: boolean): void {
    if (info.size !== this.#source.size) {
      const detail = `The server expects ${info.size} bytes of ${this.#source.name}, which has ${this.#source.size}: it was changed. Upload it again.`
      throw new ForebayError('file-changed', detail)
    }
    const first = this.#info === null
    this.#id = info.id
    this.#info = info
    this.retrier.succeeded()
    if (first) this.#emitter.emit('created', { id: info.id, resumed, mode: info.mode })
  }

  /** Take in where the upload stands. Throws where it will not complete. */
  #look(info: ServerUpload): void {
    this.#info = info
    this.meter.asked(info, Date.now())
    this.#seeProblem(info)
    const reason = info.error?.detail ? `: ${info.error.detail}` : '.'
    const { name } = this.#source
    if (info.state === 'failed') {
      throw new ForebayError(
        info.error?.code ?? 'upload-failed',
        `The server could not store ${name}${reason}`,
      )
    }
    if (info.state === 'cancelled') {
      throw new ForebayError('upload-cancelled', `The upload of ${name} was cancelled at the server${reason}`)
    }
    if (info.state === 'expired') {
      throw new ForebayError(
        'upload-expired',
        `The upload of ${name} was left alone for too long and removed${reason}`,
      )
    }
    this.#report(true)
  }

  #seeProblem(info: ServerUpload): void {
    const { error } = info
    this.#problem = error ? { reason: error.detail, code: error.code, until: null, attempt: 0 } : null
  }

  /** Rounds until one achieves something; between fruitless ones, backoff. */
  async #send(first: ServerUpload, signal: AbortSignal): Promise<void> {
    const passes = (error: ForebayError) => isTransient(error) || isOutdated(error)
    const rounds = async (attempt: number) => {
      let info = first
      if (attempt > 0) {
        info = await this.#ask(first.id, signal)
        this.#look(info)
      }
      const chunks = missingChunks(this.#source.size, info.chunk_size, info.missing)
      if (chunks.length === 0) return
      const round = new Round(this, info, chunks)
      this.#round = round
      try {
        await round.run(signal)
      } finally {
        if (this.#round === round) this.#round = null
      }
    }
    await this.retrier.persist(rounds, signal, passes)
  }

  /** Returns when there is news of the upload, all bytes of which the server has: then it is asked for. */
  async #follow(first: ServerUpload, signal: AbortSignal): Promise<void> {
    const { events } = this.#shared
    let info = first
    let waitMs = FOLLOW_FIRST_MS // also with events: what happened before they were listened to is not among them
    while (info.state !== 'completed' && info.missing.length === 0) {
      if (!this.#news) {
        await sleep(waitMs, signal, (ready) => {
          this.#wake = ready
        })
      }
      waitMs = events === null ? Math.min(FOLLOW_LONGEST_MS, waitMs * FOLLOW_GROWTH) : FOLLOW_WITH_EVENTS_MS
      info = await this.#ask(first.id, signal)
      this.#look(info)
    }
  }

  async #verified(info: ServerUpload, signal: AbortSignal): Promise<Result> {
    let crc: number | null = null
    try {
      crc = await this.reader.whole(info.chunk_size, signal)
    } catch (error) {
      // Sent in an earlier life of the page, and gone since: the server has checked each chunk when it came.
      if (!(error instanceof ForebayError)) throw error
    }
    const stored = crc32cOf(info.result?.digest ?? null)
    if (crc !== null && stored !== null && crc !== stored) {
      throw new ForebayError(
        'verification-failed',
        `What is stored of ${this.#source.name} is not what was read here. Don't rely on it; upload it again, and tell the operator (upload ${info.id}).`,
      )
    }
    return this.#result(info, crc !== null && crc === stored)
  }

  #result(info: ServerUpload, verified: boolean): Result {
    return {
      id: info.id,
      name: info.result?.name ?? info.filename,
      size: this.#source.size,
      destination: info.result?.destination ?? info.destination,
      sha256: sha256Of(info.result?.digest ?? null),
      verified,
      url: this.api.url(`/files/${info.id}/content`),
    }
  }

  // -- beside it ---------------------------------------------------------------------------------------------------

  /** Once a second: rate and time left, the queue and the destination's side, and whether the machine slept. */
  async #watch(signal: AbortSignal): Promise<void> {
    let before = Date.now()
    for (;;) {
      await sleep(WATCH_MS, signal)
      const now = Date.now()
      if (now - before > ASLEEP_MS) this.#networkChanged(true, signal)
      this.#report(false)
      const movedAt = this.#round?.movedAt ?? null
      const quiet = movedAt !== null && now - movedAt >= WATCH_MS
      if (this.#round !== null && (quiet || this.#shared.events === null)) await this.#overhear(signal)
      before = Date.now()
    }
  }

  async #overhear(signal: AbortSignal): Promise<void> {
    const info = await this.api.get(this.#id ?? '', signal).catch(() => null) // the lanes meet the same trouble
    const round = this.#round
    if (info === null || round === null) return
    const queue = this.meter.queuePosition
    const advanced = queue !== null && (info.queue_position ?? 0) < queue
    if (advanced || info.bytes_transferred > this.meter.stored) this.retrier.renew()
    this.meter.overheard(info.bytes_transferred, info.queue_position)
    this.#seeProblem(info)
    round.queued(info.queue_position !== null)
    this.#report(true)
  }

  #networkChanged(online: boolean, signal: AbortSignal): void {
    if (!online) {
      this.retrier.disconnected()
      return
    }
    const now = Date.now()
    this.retrier.wake()
    sleep(SURVIVES_MS, signal).then(
      () => this.#round?.suspect(now),
      () => {},
    )
  }

  // -- telling -----------------------------------------------------------------------------------------------------

  #newMeter(): Meter {
    return new Meter(this.#source.size, (number, state) => this.#emitter.emit('chunk', { number, state }))
  }

  #present(): UploadState {
    if (this.#resting !== null) return this.#resting
    if (this.retrier.offline) return 'offline'
    if (this.retrier.trouble !== null) return 'waiting'
    if (this.#info === null) return 'creating'
    if (this.meter.queuePosition !== null) return 'queued'
    return this.#info.missing.length === 0 ? 'storing' : 'uploading'
  }

  #report(atOnce: boolean): void {
    const state = this.#present()
    if (state !== this.#told) {
      this.#told = state
      atOnce = true
      this.#emitter.emit('state', state)
    }
    const { waiting } = this
    if (waiting !== null && !sameWait(waiting, this.#toldWaiting)) this.#emitter.emit('waiting', waiting)
    this.#toldWaiting = waiting
    const now = Date.now()
    if (!atOnce && now - this.#reportedAt < REPORT_MS) return
    this.#reportedAt = now
    this.#emitter.emit('progress', this.progress)
  }
}

function sameWait(a: Waiting, b: Waiting | null): boolean {
  return b !== null && a.code === b.code && a.reason === b.reason && a.until === b.until
}

/** The promise, or the signal's reason where that comes first. */
function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason)
    if (signal.aborted) return aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
