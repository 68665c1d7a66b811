/**
 * When to try again, and for how long.
 *
 * Laws: only errors that may pass are repeated; the wait is exponential with full jitter, or what the server asked for
 * in `Retry-After`, never less; what ends the attempts is time without progress (patience), not their number. Patience
 * is spent by waiting and by attempts that fail, not by the clock: a laptop that was closed for a night has spent none.
 */

import type { RetryPolicy } from './types.ts'

export const DEFAULT_RETRY: RetryPolicy = {
  patienceMs: 30 * 60_000,
  initialMs: 250,
  maxMs: 15_000,
  stallMs: 120_000,
}

const SPREAD = 0.1 // lanes that were refused together come back spread over a tenth of the delay
const SHORTEST_MS = 20 // a jitter of nothing would be a busy loop

/** Milliseconds to wait, from a `Retry-After` of either form (RFC 9110 section 10.2.3); null where it can't be read. */
export function parseRetryAfter(value: string | null, nowMs: number = Date.now()): number | null {
  const text = value?.trim() ?? ''
  if (/^[0-9]+$/.test(text)) return Number(text) * 1000
  const moment = /[A-Za-z]/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(moment) ? null : Math.max(0, moment - nowMs)
}

/**
 * Milliseconds before attempt `attempt + 1`, where `attempt` counts from 0. "At once" from the server, or a date that our
 * clock has passed, says nothing about how often: then backoff decides.
 */
export function delayMs(
  attempt: number,
  policy: RetryPolicy,
  retryAfterMs: number | null,
  random: () => number = Math.random,
): number {
  if (retryAfterMs) return retryAfterMs * (1 + SPREAD * random())
  const most = Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(attempt, 30))
  return Math.max(SHORTEST_MS, random() * most)
}

/** What is left of the time without progress, shared by all lanes of an upload. */
export class Patience {
  #spent = 0
  readonly #most: number

  constructor(patienceMs: number) {
    this.#most = patienceMs
  }

  /** Something was achieved. */
  renew(): void {
    this.#spent = 0
  }

  /** Takes `ms` off; false when there was less left than that. */
  spend(ms: number): boolean {
    this.#spent += ms
    return this.#spent <= this.#most
  }
}
