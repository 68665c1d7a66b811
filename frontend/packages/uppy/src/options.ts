import type { ChunkMap, ClientOptions, ForebayError, Result, UploadState, Waiting } from '@forebay/client'
import type { PluginOpts } from '@uppy/core'

/** Options of `uppy.use(ForebayUpload, …)`: the client's, and how many files go at once. */
export interface ForebayUploadOptions extends PluginOpts, Omit<ClientOptions, 'maxLanes'> {
  /** Chunks in flight at once, over all files; default 4: the rest of a browser's six connections stay free. */
  maxLanes?: number
  /** Files at once; default 3, so that small ones don't wait behind a large one. */
  limit?: number
  /** Name of a destination of the server; a file's meta `destination` goes before it. */
  destination?: string
  onConflict?: 'rename' | 'fail' | 'replace'
}

/**
 * What a page shows of one file beyond Uppy's own progress, in `file.forebay` (Uppy state, so that `state-update`
 * tells of changes). Absent before the file's upload began.
 */
export interface ForebayFileState {
  uploadId: string | null
  state: UploadState
  received: number
  sent: number
  stored: number
  total: number
  rate: number
  secondsLeft: number | null
  queuePosition: number | null
  retries: number
  lanes: number
  waiting: Waiting | null
  error: Pick<ForebayError, 'code' | 'detail' | 'status' | 'retryAfterMs'> | null
  result: Result | null
  /** A copy at each change: compare by identity. */
  chunks: ChunkMap | null
}
