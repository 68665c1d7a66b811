/** Repeats what fails for reasons that pass, and knows what it waits for. One for each upload, shared by its lanes. */

import { delayMs, Patience } from './backoff.ts'
import { onLine, sleep } from './clock.ts'
import { ForebayError, isConnectionFailure, isTransient } from './errors.ts'
import type { RetryPolicy, Waiting } from './types.ts'

const OFFLINE_POLL_MS = 5000 // some machines never say that they are online again
const FAILURES_OFFLINE = 3 // in a row, where the machine can't say whether it is online

export interface RetrierHost {
  /** Whether something else of this upload is under way: then a failure is no standstill. */
  busy(): boolean
  /** `trouble` or `offline` have changed, or an attempt will be repeated. */
  changed(retried: boolean): void
  /** Resolves when there is a sign-in that is newer than `since` (`Date.now()`); false: there will be none. */
  signIn(since: number): Promise<boolean>
}

export class Retrier {
  readonly policy: RetryPolicy
  readonly #host: RetrierHost
  readonly #patience: Patience
  readonly #sleepers = new Set<{ wake: () => void; connection: boolean }>()
  #failures = 0
  #trouble: Waiting | null = null
  #offline = false

  constructor(policy: RetryPolicy, host: RetrierHost) {
    this.policy = policy
    this.#host = host
    this.#patience = new Patience(policy.patienceMs)
  }

  /** Why nothing moves; null while something does. */
  get trouble(): Waiting | null {
    return this.#trouble
  }

  get offline(): boolean {
    return this.#offline
  }

  /**
   * The result of the first attempt that succeeds; `attempt` counts from 0.
   *
   * @throws ForebayError the last one, when it can't pass or patience is at an end; the signal's reason
   */
  async persist<T>(
    task: (attempt: number) => Promise<T>,
    signal: AbortSignal,
    passes: (error: ForebayError) => boolean = isTransient,
  ): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted()
      const startedAt = Date.now()
      try {
        return await task(attempt)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof ForebayError)) throw error
        if (error.status === 401) await this.#signIn(error, startedAt, signal)
        else if (passes(error)) await this.#backOff(error, attempt, Date.now() - startedAt, signal)
        else throw error
      }
    }
  }

  /** The server did what was asked: whoever waits for the connection goes on at once. */
  succeeded(): void {
    this.#patience.renew()
    this.moved()
    for (const sleeper of [...this.#sleepers]) if (sleeper.connection) sleeper.wake()
  }

  /** Bytes move. */
  moved(): void {
    this.#failures = 0
    if (this.#trouble === null && !this.#offline) return
    this.#trouble = null
    this.#offline = false
    this.#host.changed(false)
  }

  /** The queue advances, or the destination takes bytes: time well spent. */
  renew(): void {
    this.#patience.renew()
  }

  /** Try again now: the network is back, or somebody asks for it. */
  wake(): void {
    for (const sleeper of [...this.#sleepers]) sleeper.wake()
  }

  /** The machine says that it has no network. */
  disconnected(): void {
    this.#offline = true
    this.#host.changed(false)
  }

  /** Nothing is waited for any more. */
  clear(): void {
    this.#trouble = null
    this.#offline = false
    this.#failures = 0
  }

  async #backOff(error: ForebayError, attempt: number, tookMs: number, signal: AbortSignal): Promise<void> {
    const connection = isConnectionFailure(error)
    this.#failures = connection ? this.#failures + 1 : 0
    const known = onLine()
    if (connection && known === false) {
      this.#offline = true
      this.#host.changed(true)
      await this.#sleep(OFFLINE_POLL_MS, true, signal)
      return
    }
    this.#offline = connection && known === null && this.#failures >= FAILURES_OFFLINE
    const delay = delayMs(attempt, this.policy, error.retryAfterMs)
    if (!this.#patience.spend(delay + Math.min(tookMs, this.policy.stallMs))) throw error
    if (!this.#host.busy()) {
      const until = Date.now() + delay
      this.#trouble = { reason: error.detail, code: error.code, until, attempt: attempt + 1 }
    }
    this.#host.changed(true)
    await this.#sleep(delay, connection, signal)
  }

  async #signIn(error: ForebayError, since: number, signal: AbortSignal): Promise<void> {
    this.#trouble = { reason: error.detail, code: error.code, until: null, attempt: 0 }
    this.#host.changed(false)
    const signedIn = await this.#host.signIn(since)
    signal.throwIfAborted()
    if (!signedIn) throw error
  }

  async #sleep(ms: number, connection: boolean, signal: AbortSignal): Promise<void> {
    const sleeper = { wake: () => {}, connection }
    this.#sleepers.add(sleeper)
    try {
      await sleep(ms, signal, (wake) => {
        sleeper.wake = wake
      })
    } finally {
      this.#sleepers.delete(sleeper)
    }
  }
}
