/**
 * What `GET /api/v1/ops/events` says; the server's models are in backend/app/api/ops_stream.py.
 *
 * Times named `at` or `_at` are seconds since the epoch by the server's clock, sizes are bytes.
 */

/** Where an upload's time goes. */
export type Cause = 'client' | 'queue' | 'slab' | 'disk' | 'destination' | 'backoff'

/** Seconds of waiting by cause. */
export type Causes = Record<Cause, number>

export interface Sample {
  at: number
  /** Per second, as are `bytes_out` (to the destinations) and `chunks`. */
  bytes_in: number
  bytes_out: number
  chunks: number
  /** 0 to 1. */
  error_rate: number
  active_uploads: number
  active_users: number
  queued: number
  memory_percent: number | null
  memory_level: 'ok' | 'high' | 'error'
  rss_bytes: number | null
  slabs_leased: number
  slab_waiting: number
  /** The longest in the interval. */
  loop_delay_ms: number
  chunk_p50_ms: number | null
  chunk_p99_ms: number | null
  /** Seconds of waiting per second, summed over uploads. */
  causes: Causes
  slowness: Cause | null
}

export interface History {
  step_seconds: number
  /** Oldest first. */
  samples: Sample[]
}

export interface Limits {
  max_uploads: number
  max_users: number
  max_memory_percent: number
  memory_limit_bytes: number | null
  slabs_total: number
  slab_bytes: number
  mode: string
  version: string
  started_at: number
}

export interface Destination {
  kind: string
  breaker: 'closed' | 'open'
  reason: string | null
  sentence: string | null
  transferring: number
  waiting: number
  parked: number
  backoff_until: number | null
  report: Record<string, number | boolean | null> | null
}

export type Destinations = Record<string, Destination>

export interface Row {
  id: string
  owner: string
  filename: string
  size: number | null
  state: string
  destination: string
  received: number
  stored: number
  bytes_per_second: number
  retries: number
  queue_position: number | null
  created_at: number
  problem: string | null
  /** Of the last 30 seconds. */
  where: Causes
  slowness: Cause | null
}

export interface Rows {
  rows: Row[]
  gone: string[]
}

export interface Incident {
  id: number
  at: number
  kind: 'start' | 'stop' | 'refusal' | 'failure' | 'destination' | 'memory'
  sentence: string
  count: number
  upload_id: string | null
  owner: string | null
}

/** Every event by its name. */
export interface Messages {
  history: History
  sample: Sample
  limits: Limits
  destinations: Destinations
  uploads: Rows
  incidents: { incidents: Incident[] }
}
