/**
 * An hour of samples in bounded memory, in steps of some seconds.
 *
 * Laws:
 * - Time only goes forward; a sample that is not newer than the last is dropped.
 * - The server's history is right for the time it covers; what is older is kept from an earlier connection, so that a
 *   restart of the server does not wipe the page's hour.
 * - Of what is a rate, a step keeps the mean, of everything else the highest, as the server's steps do.
 * - The newest point is over the last step's time, whenever it is looked at: what comes in bursts is not shown as peaks.
 */

import { CAUSES } from './causes.ts'
import type { Causes, History, Sample } from './messages.ts'

const HOUR_S = 3600
const RECENT_S = 10
/** Rates are read by people: over less time their figures could not be. */
const RATE_S = 2.5

export class Series {
  #step = 5
  /** Whole ones, oldest first. */
  #steps: Sample[] = []
  /** What came within the present step. */
  #open: Sample[] = []
  /** What came in the last seconds. */
  #recent: Sample[] = []

  get latest(): Sample | undefined {
    return this.#recent.at(-1) ?? this.#steps.at(-1)
  }

  /** Seconds between two points. */
  get step(): number {
    return this.#step
  }

  /** Take the server's history, in place of what is known of the same time. */
  merge(history: History): void {
    if (history.step_seconds > 0) this.#step = history.step_seconds
    this.#close()
    const [first, last] = [history.samples[0], history.samples.at(-1)]
    if (first !== undefined && last !== undefined) {
      const older = this.#steps.filter((sample) => sample.at < first.at)
      this.#steps = [...older, ...history.samples]
      if (last.at > (this.#recent.at(-1)?.at ?? 0)) this.#recent = []
    }
    this.#trim()
  }

  add(sample: Sample): void {
    const latest = this.latest
    if (latest !== undefined && sample.at <= latest.at) return
    const first = this.#open[0]
    if (first !== undefined && this.#numberOf(first) !== this.#numberOf(sample)) this.#close()
    this.#open.push(sample)
    this.#recent.push(sample)
    this.#trim()
  }

  /** What came one by one in the last so many seconds, ten at most. */
  recent(seconds: number): Sample[] {
    const latest = this.latest
    return latest === undefined ? [] : this.#recent.filter((sample) => sample.at > latest.at - seconds)
  }

  /** How it is now: the latest, with rates over a time in which they can be read. */
  now(): Sample | undefined {
    const { latest } = this
    const recent = this.recent(RATE_S)
    if (latest === undefined || recent.length === 0) return latest
    const { bytes_in, bytes_out, chunks, loop_delay_ms } = fold(recent)
    return { ...latest, bytes_in, bytes_out, chunks, loop_delay_ms }
  }

  /** What a chart of the last `seconds` shows. */
  window(seconds: number): Sample[] {
    const latest = this.latest
    if (latest === undefined) return []
    const steps = this.#steps.filter((sample) => sample.at > latest.at - seconds)
    return this.#open.length > 0 ? [...steps, fold(this.recent(this.#step))] : steps
  }

  #numberOf(sample: Sample): number {
    return Math.floor(sample.at / this.#step)
  }

  #close(): void {
    if (this.#open.length > 0) this.#steps.push(fold(this.#open))
    this.#open = []
  }

  #trim(): void {
    const latest = this.latest
    if (latest === undefined) return
    dropBefore(this.#steps, latest.at - HOUR_S)
    dropBefore(this.#recent, latest.at - RECENT_S)
  }
}

function dropBefore(samples: Sample[], at: number): void {
  let stale = 0
  while (stale < samples.length && (samples[stale] as Sample).at < at) stale += 1
  if (stale > 0) samples.splice(0, stale)
}

const LEVELS = ['ok', 'high', 'error'] as const

/** One sample that stands for several; there is at least one. */
export function fold(samples: readonly Sample[]): Sample {
  const last = samples.at(-1) as Sample
  const mean = (value: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + value(sample), 0) / samples.length
  const highest = (value: (sample: Sample) => number): number => Math.max(...samples.map(value))
  const highestKnown = (value: (sample: Sample) => number | null): number | null => {
    const known = samples.map(value).filter((each) => each !== null)
    return known.length > 0 ? Math.max(...known) : null
  }
  const causes = {} as Causes
  for (const cause of CAUSES) causes[cause] = mean((sample) => sample.causes[cause])
  return {
    ...last,
    bytes_in: mean((sample) => sample.bytes_in),
    bytes_out: mean((sample) => sample.bytes_out),
    chunks: mean((sample) => sample.chunks),
    error_rate: mean((sample) => sample.error_rate),
    active_uploads: highest((sample) => sample.active_uploads),
    active_users: highest((sample) => sample.active_users),
    queued: highest((sample) => sample.queued),
    memory_percent: highestKnown((sample) => sample.memory_percent),
    memory_level: LEVELS[highest((sample) => LEVELS.indexOf(sample.memory_level))] ?? last.memory_level,
    rss_bytes: highestKnown((sample) => sample.rss_bytes),
    slabs_leased: highest((sample) => sample.slabs_leased),
    slab_waiting: highest((sample) => sample.slab_waiting),
    loop_delay_ms: highest((sample) => sample.loop_delay_ms),
    causes,
  }
}

/**
 * Columns for a chart: time first, then one for each reading.
 *
 * Where nothing came for more than three steps (the server was down) a point without values breaks the line.
 */
export function columns(
  samples: readonly Sample[],
  readings: readonly ((sample: Sample) => number | null)[],
  step: number,
): [number[], ...(number | null)[][]] {
  const times: number[] = []
  const values: (number | null)[][] = readings.map(() => [])
  let before: number | undefined
  for (const sample of samples) {
    if (before !== undefined && sample.at - before > 3 * step) {
      times.push(before + step)
      for (const column of values) column.push(null)
    }
    times.push(sample.at)
    for (const [index, reading] of readings.entries()) values[index]?.push(reading(sample))
    before = sample.at
  }
  return [times, ...values]
}

/** What a chart says in words: the newest value and the bounds; null where nothing was measured. */
export function bounds(
  column: readonly (number | null | undefined)[],
): { now: number | null; min: number; max: number } | null {
  let min = Infinity
  let max = -Infinity
  for (const value of column) {
    if (value === null || value === undefined) continue
    if (value < min) min = value
    if (value > max) max = value
  }
  if (min > max) return null
  return { now: column.at(-1) ?? null, min, max }
}
