/**
 * The operations page: what the stream says, drawn at most twice a second.
 *
 * Drawing waits for an animation frame, so that a page that nobody sees costs nothing but the taking in of events.
 */

import { onThemeChange } from '../shared/theme.ts'
import { CancelDialog } from './cancel-dialog.ts'
import { Charts } from './charts.ts'
import { DestinationCards } from './destinations.ts'
import { el } from './dom.ts'
import { Incidents } from './incidents.ts'
import type { Messages } from './messages.ts'
import { Model } from './model.ts'
import { Slowness } from './slowness.ts'
import { StatusBar } from './status-bar.ts'
import { type Connection, OpsStream } from './stream.ts'
import { Tiles } from './tiles.ts'
import { UploadTable } from './uploads.ts'

const PAUSE_MS = 500

export class Board {
  readonly #model = new Model()
  readonly #status = new StatusBar()
  readonly #tiles = new Tiles()
  readonly #slowness = new Slowness()
  readonly #charts = new Charts(() => this.#schedule())
  readonly #destinations = new DestinationCards()
  readonly #dialog = new CancelDialog()
  readonly #uploads = new UploadTable(
    (row) => this.#dialog.ask(row),
    () => this.#draw(),
  )
  readonly #incidents = new Incidents((id) => this.#uploads.show(id))
  readonly #stream: OpsStream
  readonly #forgetTheme: () => void
  #connection: Connection = 'connecting'
  #drawnAt = 0
  #due = false

  /** Fill `parent`, and open the stream; `onRefused` is called when it is not for this user any more. */
  constructor(parent: HTMLElement, onRefused: () => void) {
    parent.replaceChildren(
      this.#status.element,
      this.#tiles.element,
      this.#slowness.element,
      this.#charts.element,
      el('div', { class: 'side-by-side' }, this.#destinations.element, this.#incidents.element),
      this.#uploads.element,
      this.#dialog.element,
    )
    this.#charts.build()
    this.#charts.watchSize()
    this.#forgetTheme = onThemeChange(() => {
      this.#charts.build()
      this.#draw()
    })
    this.#stream = new OpsStream({
      listeners: this.#listeners(),
      onConnection: (connection) => {
        this.#connection = connection
        this.#schedule()
      },
      onRefused,
    })
  }

  close(): void {
    this.#stream.close()
    this.#forgetTheme()
    this.#charts.close()
  }

  #listeners(): { [K in keyof Messages]: (message: Messages[K]) => void } {
    const then =
      <T>(listener: (message: T) => void) =>
      (message: T): void => {
        listener(message)
        this.#schedule()
      }
    const { history, sample, limits, destinations, uploads, incidents } = this.#model.listeners
    return {
      history: then(history),
      sample: then(sample),
      limits: then(limits),
      destinations: then(destinations),
      uploads: then(uploads),
      incidents: then(incidents),
    }
  }

  #schedule(): void {
    if (this.#due) return
    this.#due = true
    const wait = Math.max(0, this.#drawnAt + PAUSE_MS - performance.now())
    setTimeout(() => requestAnimationFrame(() => this.#drawDue()), wait)
  }

  #drawDue(): void {
    this.#due = false
    this.#draw()
  }

  #draw(): void {
    this.#drawnAt = performance.now()
    const model = this.#model
    this.#status.render(model, this.#connection)
    this.#tiles.render(model.series, model.limits)
    this.#slowness.render(model)
    this.#charts.render(model.series, model.limits)
    this.#destinations.render(model.destinations, model.now())
    this.#uploads.render(model.rows)
    this.#incidents.render(model.incidents, (id) => model.rows.has(id))
  }
}
