/**
 * The page's one connection to the server.
 *
 * Laws:
 * - Nothing else asks the server anything while it is open; of a browser's six connections a host it takes one.
 * - When it breaks the session is looked at: a stream can't tell a token that is gone from a server that is away.
 * - A stream on which nothing comes for ten seconds is dead (a laptop was closed, a network changed), whatever TCP says.
 */

import { ApiError } from '../shared/api.ts'
import { EventStream } from '../shared/event-stream.ts'
import { whoAmI } from '../shared/session.ts'
import type { Messages } from './messages.ts'

export type Connection = 'connecting' | 'live' | 'reconnecting'

export interface OpsStreamOptions {
  listeners: { [K in keyof Messages]: (message: Messages[K]) => void }
  onConnection(state: Connection): void
  /** The session is over, or its user is no operator any more: the stream is closed. */
  onRefused(): void
}

const URL = '/api/v1/ops/events'
const SILENCE_MS = 10_000

export class OpsStream {
  readonly #options: OpsStreamOptions
  readonly #watch: ReturnType<typeof setInterval>
  #stream: EventStream
  #heardAt = Date.now()
  #ended = false

  constructor(options: OpsStreamOptions) {
    this.#options = options
    options.onConnection('connecting')
    this.#stream = this.#open()
    this.#watch = setInterval(() => this.#look(), 1000)
  }

  close(): void {
    this.#ended = true
    clearInterval(this.#watch)
    this.#stream.close()
  }

  #open(): EventStream {
    const { listeners } = this.#options
    return new EventStream(URL, Object.keys(listeners), {
      open: () => {
        this.#heardAt = Date.now()
        this.#options.onConnection('live')
      },
      event: (name, data) => {
        this.#heardAt = Date.now()
        ;(listeners as Record<string, (message: unknown) => void>)[name]?.(data)
      },
      lost: () => {
        this.#options.onConnection('reconnecting')
        void this.#checkSession()
      },
    })
  }

  #look(): void {
    if (Date.now() - this.#heardAt <= SILENCE_MS) return
    this.#heardAt = Date.now()
    this.#options.onConnection('reconnecting')
    this.#stream.close()
    this.#stream = this.#open()
  }

  async #checkSession(): Promise<void> {
    try {
      const session = await whoAmI()
      if (session?.operator || this.#ended) return
    } catch (error) {
      if (error instanceof ApiError) return // it is away; the stream tries again
      throw error
    }
    this.close()
    this.#options.onRefused()
  }
}
