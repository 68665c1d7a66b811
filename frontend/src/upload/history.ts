/** My uploads as the server lists them, kept up to date by its events. */

import type { ServerUpload, UploadEvent } from '@forebay/client'
import { ApiError, api } from '../shared/api.ts'
import { idOf } from './events.ts'

interface Page {
  uploads: ServerUpload[]
  next: string | null
}

const PAGE = 50
const REFRESH_MS = 1500 // with a hundred uploads that begin elsewhere the list is asked for once, not a hundred times
const ENDED = new Set(['completed', 'failed', 'cancelled', 'expired'])

/** Whether nothing more happens to it. */
export function hasEnded(upload: ServerUpload): boolean {
  return ENDED.has(upload.state)
}

export class History {
  uploads: ServerUpload[] = []
  /** Whether older ones are left to load. */
  hasMore = false
  /** Not asked yet. */
  loading = true
  /** Why the list can't be shown, in the server's words. */
  problem: string | null = null

  readonly #changed: () => void
  readonly #unauthenticated: (since: number) => void
  #next: string | null = null
  #refreshing: Promise<void> | null = null
  #again = false

  /**
   * `changed`: something that is shown has; `unauthenticated`: the server wants a sign-in before it lists anything, as
   * it said of what was asked at `since` (`Date.now()`).
   */
  constructor(hooks: { changed: () => void; unauthenticated: (since: number) => void }) {
    this.#changed = hooks.changed
    this.#unauthenticated = hooks.unauthenticated
  }

  /** Ask for the newest again; what was loaded of the older ones stays. */
  refresh(): Promise<void> {
    this.#again = true
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null
    })
    return this.#refreshing
  }

  async #refresh(): Promise<void> {
    while (this.#again) {
      this.#again = false
      const since = Date.now()
      try {
        const page = await api<Page>('GET', `/uploads?limit=${PAGE}`)
        const oldest = page.uploads.at(-1)
        const known = new Set(page.uploads.map((upload) => upload.id))
        const older = this.uploads.filter(
          (upload) => oldest !== undefined && upload.created_at < oldest.created_at && !known.has(upload.id),
        )
        this.uploads = [...page.uploads, ...older]
        if (older.length === 0) this.#next = page.next
        this.problem = null
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        // A server that is away is told elsewhere; what is known of the list stays.
        if (error.status > 0 || this.loading) this.problem = error.message
        if (error.status === 401) this.#unauthenticated(since)
      }
      this.loading = false
      this.hasMore = this.#next !== null
      this.#changed()
      await new Promise((resolve) => setTimeout(resolve, REFRESH_MS))
    }
  }

  /** Load older ones. */
  async more(): Promise<void> {
    if (this.#next === null) return
    try {
      const page = await api<Page>('GET', `/uploads?limit=${PAGE}&cursor=${encodeURIComponent(this.#next)}`)
      const known = new Set(this.uploads.map((upload) => upload.id))
      this.uploads = [...this.uploads, ...page.uploads.filter((upload) => !known.has(upload.id))]
      this.#next = page.next
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.problem = error.message
    }
    this.hasMore = this.#next !== null
    this.#changed()
  }

  /** Something happened to an upload. */
  take(event: UploadEvent): void {
    const id = idOf(event)
    const index = this.uploads.findIndex((upload) => upload.id === id)
    const known = this.uploads[index]
    if (known === undefined) {
      if (event.event === 'done') this.#insert(event.data)
      else if (event.event === 'state') void this.refresh()
      return
    }
    const changed = { ...known, ...changeOf(event) }
    this.uploads = this.uploads.with(index, changed)
    this.#changed()
  }

  #insert(upload: ServerUpload): void {
    const older = this.uploads.findIndex((each) => each.created_at < upload.created_at)
    if (older < 0 && this.hasMore) return // it belongs to what is not loaded
    this.uploads = this.uploads.toSpliced(older < 0 ? this.uploads.length : older, 0, upload)
    this.#changed()
  }

  /** Cancel one; returns why not, in the server's words, or null. */
  async cancel(id: string): Promise<string | null> {
    try {
      await api<void>('DELETE', `/uploads/${id}`)
      return null
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return error.message
    } finally {
      void this.refresh()
    }
  }
}

function changeOf(event: UploadEvent): Partial<ServerUpload> {
  if (event.event === 'done') return event.data
  if (event.event === 'state') return { state: event.data.state as ServerUpload['state'] }
  return {
    state: event.data.state,
    bytes_received: event.data.bytes_received,
    bytes_transferred: event.data.bytes_transferred,
  }
}
