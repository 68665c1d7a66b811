/** The server's news about my uploads, over one connection, for whoever asks: each upload, and the list. */

import type { UploadEvent, UploadEvents } from '@forebay/client'
import { API } from '../shared/api.ts'
import { EventStream } from '../shared/event-stream.ts'

interface Subscriber {
  listener: (event: UploadEvent) => void
  lost: () => void
}

export class MyEvents implements UploadEvents {
  readonly #byUpload = new Map<string, Set<Subscriber>>()
  readonly #everything = new Set<(event: UploadEvent) => void>()
  readonly #stream: EventStream

  /**
   * Opens the stream. `onOpen`: it runs, also after it had been lost, so what was told meanwhile was missed;
   * `onLost`: it does not, and is tried again.
   */
  constructor(options: { onOpen: () => void; onLost: () => void }) {
    this.#stream = new EventStream(`${API}/events`, ['state', 'progress', 'done'], {
      event: (name, data) => this.#tell({ event: name, data } as UploadEvent),
      open: () => {
        for (const subscribers of this.#byUpload.values()) for (const each of subscribers) each.lost()
        options.onOpen()
      },
      lost: options.onLost,
    })
  }

  #tell(event: UploadEvent): void {
    for (const listener of this.#everything) listener(event)
    for (const each of this.#byUpload.get(idOf(event)) ?? []) each.listener(event)
  }

  subscribe(uploadId: string, listener: (event: UploadEvent) => void, lost: () => void): () => void {
    const subscriber = { listener, lost }
    const subscribers = this.#byUpload.get(uploadId) ?? new Set()
    this.#byUpload.set(uploadId, subscribers.add(subscriber))
    return () => {
      subscribers.delete(subscriber)
      if (subscribers.size === 0 && this.#byUpload.get(uploadId) === subscribers)
        this.#byUpload.delete(uploadId)
    }
  }

  /** `listener` is told of all uploads. */
  onEvery(listener: (event: UploadEvent) => void): void {
    this.#everything.add(listener)
  }

  close(): void {
    this.#stream.close()
  }
}

/** Which upload an event is about. */
export function idOf(event: UploadEvent): string {
  return event.event === 'progress' ? event.data.file_id : event.data.id
}
