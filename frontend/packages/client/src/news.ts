/** One event stream for all uploads of a page: `GET /api/v1/events`. */

import type { ServerProgress, ServerUpload, UploadEvent, UploadEvents } from './types.ts'

const FIRST_MS = 1000
const LONGEST_MS = 30_000

/** `UploadEvents` over an `EventSource` that is open while somebody listens. */
export function eventSourceEvents(url = '/api/v1/events'): UploadEvents {
  const listeners = new Map<string, Set<{ news: (event: UploadEvent) => void; lost: () => void }>>()
  let source: EventSource | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let waitMs = FIRST_MS

  function tell(id: string, event: UploadEvent): void {
    for (const { news } of [...(listeners.get(id) ?? [])]) news(event)
  }

  function open(): void {
    source = new EventSource(url)
    source.onopen = () => {
      waitMs = FIRST_MS
      for (const group of [...listeners.values()]) for (const { lost } of [...group]) lost()
    }
    source.onerror = () => {
      if (source?.readyState !== EventSource.CLOSED) return // it connects again by itself
      close() // refused (signed out, server full): the browser has given up
      if (listeners.size > 0) timer = setTimeout(open, waitMs)
      waitMs = Math.min(LONGEST_MS, waitMs * 2)
    }
    source.addEventListener('state', ({ data }: MessageEvent<string>) => {
      const state = JSON.parse(data) as { id: string; state: string }
      tell(state.id, { event: 'state', data: state })
    })
    source.addEventListener('progress', ({ data }: MessageEvent<string>) => {
      const progress = JSON.parse(data) as ServerProgress
      tell(progress.file_id, { event: 'progress', data: progress })
    })
    source.addEventListener('done', ({ data }: MessageEvent<string>) => {
      const upload = JSON.parse(data) as ServerUpload
      tell(upload.id, { event: 'done', data: upload })
    })
  }

  function close(): void {
    clearTimeout(timer)
    timer = undefined
    source?.close()
    source = null
  }

  return {
    subscribe(uploadId, news, lost) {
      const group = listeners.get(uploadId) ?? new Set()
      listeners.set(uploadId, group)
      const entry = { news, lost }
      group.add(entry)
      if (source === null && timer === undefined) open()
      return () => {
        group.delete(entry)
        if (group.size === 0 && listeners.get(uploadId) === group) listeners.delete(uploadId)
        if (listeners.size === 0) close()
      }
    },
  }
}
