/** Messages for tests: quiet ones, of which a test says what differs. */

import type { Causes, Destination, Incident, Limits, Row, Sample } from './messages.ts'

export const NO_WAITS: Causes = { client: 0, queue: 0, slab: 0, disk: 0, destination: 0, backoff: 0 }

export const sample = (at: number, differs: Partial<Sample> = {}): Sample => ({
  at,
  bytes_in: 0,
  bytes_out: 0,
  chunks: 0,
  error_rate: 0,
  active_uploads: 0,
  active_users: 0,
  queued: 0,
  memory_percent: 40,
  memory_level: 'ok',
  rss_bytes: 90_000_000,
  slabs_leased: 0,
  slab_waiting: 0,
  loop_delay_ms: 1,
  chunk_p50_ms: null,
  chunk_p99_ms: null,
  causes: NO_WAITS,
  slowness: null,
  ...differs,
})

export const row = (id: string, differs: Partial<Row> = {}): Row => ({
  id,
  owner: 'anna',
  filename: `${id}.bin`,
  size: 1000,
  state: 'receiving',
  destination: 'default',
  received: 0,
  stored: 0,
  bytes_per_second: 0,
  retries: 0,
  queue_position: null,
  created_at: 0,
  problem: null,
  where: NO_WAITS,
  slowness: null,
  ...differs,
})

export const limits: Limits = {
  max_uploads: 20,
  max_users: 10,
  max_memory_percent: 80,
  memory_limit_bytes: null,
  slabs_total: 16,
  slab_bytes: 2 << 20,
  mode: 'parallel',
  version: '1.0',
  started_at: 0,
}

export const destination = (differs: Partial<Destination> = {}): Destination => ({
  kind: 'gdrive',
  breaker: 'closed',
  reason: null,
  sentence: null,
  transferring: 0,
  waiting: 0,
  parked: 0,
  backoff_until: null,
  report: null,
  ...differs,
})

export const incident = (id: number, differs: Partial<Incident> = {}): Incident => ({
  id,
  at: id,
  kind: 'refusal',
  sentence: `Number ${id}.`,
  count: 1,
  upload_id: null,
  owner: null,
  ...differs,
})
