/**
 * One stream of Server-Sent Events that comes back by itself.
 *
 * A browser's EventSource tries again when a connection breaks, but gives up for good when the server answers anything
 * but 200 (it restarts behind a proxy, a token has expired); this one does not.
 */

export interface StreamHandlers {
  /** Data of an event, parsed. */
  event(name: string, data: unknown): void
  /** The stream runs: whatever was said before it may have been missed. */
  open?(): void
  /** It broke, and is tried again. */
  lost?(): void
}

const FIRST_RETRY_MS = 500
const LONGEST_RETRY_MS = 10_000

export class EventStream {
  readonly #url: string
  readonly #names: readonly string[]
  readonly #handlers: StreamHandlers
  #source: EventSource | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #failures = 0
  #closed = false

  /** Opens it at once; `names` are the events that are listened to. */
  constructor(url: string, names: readonly string[], handlers: StreamHandlers) {
    this.#url = url
    this.#names = names
    this.#handlers = handlers
    addEventListener('online', this.#now)
    this.#open()
  }

  /** Try again now rather than when it is due; no effect while it runs. */
  #now = (): void => {
    if (this.#source === null) this.#open()
  }

  #open(): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    const source = new EventSource(this.#url)
    this.#source = source
    source.onopen = () => {
      this.#failures = 0
      this.#handlers.open?.()
    }
    source.onerror = () => {
      source.close()
      if (this.#source !== source) return
      this.#source = null
      this.#handlers.lost?.()
      const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures)
      this.#failures += 1
      this.#timer = setTimeout(this.#now, longest * (0.5 + Math.random() / 2))
    }
    for (const name of this.#names) {
      source.addEventListener(name, (message) => {
        this.#handlers.event(name, JSON.parse((message as MessageEvent<string>).data))
      })
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    removeEventListener('online', this.#now)
    this.#source?.close()
    this.#source = null
  }
}
