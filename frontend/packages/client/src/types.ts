/**
 * What callers of `@forebay/client` see. Sizes and positions are bytes, ranges half-open `[start, end)`, moments
 * milliseconds since the epoch, durations milliseconds unless the name says seconds.
 */

import type { ForebayError } from './errors.ts'

/**
 * Where an upload is, seen from here.
 *
 * `queued`: the server has no slot free yet · `waiting`: an attempt failed and will be repeated, or the destination is
 * in trouble · `storing`: the server has every byte and brings them to the destination. `completed`, `failed` and
 * `cancelled` are final, save that `retry()` takes a failed one up again.
 */
export type UploadState =
  | 'idle'
  | 'creating'
  | 'queued'
  | 'uploading'
  | 'waiting'
  | 'paused'
  | 'offline'
  | 'storing'
  | 'completed'
  | 'failed'
  | 'cancelled'

/** What is uploaded: a description, and a way to read it. `fileSource` makes one from a `File` or `Blob`. */
export interface Source {
  name: string
  size: number
  /** Media type. */
  type?: string | undefined
  /** Relative folder at the destination. */
  path?: string | undefined
  /** The bytes of `[start, end)`; called again when they are sent again. A rejection ends the upload with `file-unreadable`. */
  read(start: number, end: number): Blob | Uint8Array<ArrayBuffer> | Promise<Blob | Uint8Array<ArrayBuffer>>
}

/** Computes the CRC32C of pieces of files, away from the thread that must stay responsive where it can. */
export interface Digester {
  crc32c(piece: Blob | Uint8Array<ArrayBuffer>, signal?: AbortSignal): Promise<number>
  /** Ends what it runs on. */
  close(): void
}

/** How patient to be. */
export interface RetryPolicy {
  /** Longest time without progress; then the upload fails with the last error. Being offline or paused does not count. */
  patienceMs: number
  /** First backoff; doubles. */
  initialMs: number
  /** Longest backoff; a longer `Retry-After` is honoured as long as patience lasts. */
  maxMs: number
  /** A request on which nothing has moved for so long is given up and repeated. */
  stallMs: number
}

/** Told of each request, before it is sent: for tests and for those who count connections. */
export interface RequestInfo {
  method: string
  url: string
}

export interface ClientOptions {
  /** Address of the API, absolute or of this origin; default `/api/v1`. */
  endpoint?: string
  /** For a server elsewhere, and for Node; pages of the server's own use its cookie. */
  token?: string | (() => string | null) | null
  /** Chunks in flight at once, over all uploads of this client; default 4, never more than the server says for one upload. */
  maxLanes?: number
  /** `crc32c` (default): each chunk carries its digest, and the server refuses other bytes. */
  digest?: 'none' | 'crc32c'
  /** Where digests are computed; default: on this thread, in small steps. */
  digester?: Digester
  /** What happens to uploads, told by the server; without it each upload asks once a second while it stores. */
  events?: UploadEvents | null
  retry?: Partial<RetryPolicy>
  /** Default `globalThis.fetch`. Chunks go through `XMLHttpRequest` where there is one, since only it tells progress, unless this is set. */
  fetch?: typeof globalThis.fetch
  onRequest?: (request: RequestInfo) => void
  /**
   * Called when the server wants a (new) sign-in. Uploads stand in `waiting` until it resolves; `true`: try again,
   * `false`: they fail with `unauthenticated`. One call at a time, however many requests were refused. `since`
   * (`Date.now()`): when the request was sent; where somebody has signed in later already, elsewhere on the page, the
   * answer is `true` at once.
   */
  onUnauthenticated?: (since: number) => Promise<boolean>
}

/** The server's news about the caller's uploads (`GET /api/v1/events`), wherever they come from. */
export interface UploadEvents {
  /**
   * Call `listener` with the data of each `progress`, `state` and `done` event of that upload; returns the end of it.
   * `lost` is called when events may have been missed, so that the state is asked for.
   */
  subscribe(uploadId: string, listener: (event: UploadEvent) => void, lost: () => void): () => void
}

export type UploadEvent =
  | { event: 'state'; data: { id: string; state: string } }
  | { event: 'progress'; data: ServerProgress }
  | { event: 'done'; data: ServerUpload }

export interface UploadOptions {
  /** Take this upload up again instead of making one. */
  uploadId?: string
  /** Name of a destination of the server; default its default one. */
  destination?: string
  /** What happens when the destination has a file of that name; default `rename`. */
  onConflict?: OnConflict
  /** The same key makes the same upload, once; made up when absent. */
  idempotencyKey?: string
  /** Aborting it cancels the upload. */
  signal?: AbortSignal
}

export type OnConflict = 'rename' | 'fail' | 'replace'

/** States of chunks in `ChunkMap.states`. */
export const CHUNK_MISSING = 0
export const CHUNK_IN_FLIGHT = 1
export const CHUNK_RECEIVED = 2

/** The file as numbered chunks; `states[n]` is one of the three constants. The array is the upload's own: read it only. */
export interface ChunkMap {
  count: number
  size: number
  states: Uint8Array
}

export interface Progress {
  /** Acknowledged by the server, and kept there. */
  received: number
  /** Acknowledged, and on the way: for a bar that moves smoothly. */
  sent: number
  /** At the destination. */
  stored: number
  total: number
  /** Bytes per second of the last seconds, of the phase that lasts. */
  rate: number
  secondsLeft: number | null
  chunks: ChunkMap
  /** In the server's queue, 1 is next; null: not queued. */
  queuePosition: number | null
  /** Attempts that failed and were repeated. */
  retries: number
  /** Chunks that may be in flight now. */
  lanes: number
}

export interface Waiting {
  /** Sentence, as the server words it where it said one. */
  reason: string
  code: string
  /** When it is tried again; null: when something else changes (the destination, the sign-in). */
  until: number | null
  attempt: number
}

/** The file at its destination. */
export interface Result {
  id: string
  name: string
  size: number
  destination: string
  /** Lower-case hex; null where the server has none. */
  sha256: string | null
  /** Whether the destination's checksum was compared with that of the bytes read here, all of them. */
  verified: boolean
  /** Where the file can be fetched from, if the destination gives files back. */
  url: string
}

export interface UploadEventMap {
  state: UploadState
  progress: Progress
  chunk: { number: number; state: 0 | 1 | 2 }
  waiting: Waiting
  created: { id: string; resumed: boolean; mode: string }
  done: Result
  error: ForebayError
}

/** One upload. Everything but `done` is read at any time; listeners are called on the caller's thread. */
export interface Upload {
  /** The server's name for it; null before it was created. */
  readonly id: string | null
  readonly state: UploadState
  readonly progress: Progress
  /** What it waits for: the reason of the states `waiting` and `offline`, or the destination's trouble while `storing`; else null. */
  readonly waiting: Waiting | null
  /** Settles at the end: with the result, or rejects with a `ForebayError` (code `cancelled` after `cancel()`). */
  readonly done: Promise<Result>
  on<K extends keyof UploadEventMap>(event: K, listener: (value: UploadEventMap[K]) => void): () => void
  start(): void
  /** Requests in flight are aborted; what the server acknowledged stays there. While `storing` there is nothing to pause. */
  pause(): void
  /** Go on from what the server lacks; while it waits: try again at once. */
  resume(): void
  /** Take a failed upload up again, as a new one where the server has given it up; `done` is a new promise. */
  retry(): void
  /** Nothing of it is kept. Too late where the file is at its destination: then it is `completed`. */
  cancel(): Promise<void>
}

export type ServerUpload = import('./api.gen.ts').components['schemas']['UploadView']
export type ServerProgress = import('./api.gen.ts').components['schemas']['ProgressView']
