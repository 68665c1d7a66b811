/** The line at the top: which server this is, since when it runs, and whether what is shown is of now. */

import { duration } from '../shared/format.ts'
import { el, mark, say } from './dom.ts'
import { timeOfDay } from './format.ts'
import type { Model } from './model.ts'
import type { Connection } from './stream.ts'

const WORDS: Record<Connection, string> = {
  connecting: 'Connecting…',
  live: 'Live',
  reconnecting: 'Reconnecting…',
}

export class StatusBar {
  readonly element: HTMLElement
  readonly #connection = el('span', { class: 'connection', role: 'status' })
  readonly #facts = { server: el('dd'), version: el('dd'), uptime: el('dd'), mode: el('dd') }
  readonly #stale = el('p', { class: 'notice warn stale' })

  constructor() {
    const fact = (label: string, value: HTMLElement): HTMLElement => el('div', {}, el('dt', {}, label), value)
    say(this.#facts.server, location.host)
    this.#stale.hidden = true
    this.element = el(
      'div',
      { class: 'status-bar' },
      el('h1', {}, 'Operations'),
      this.#connection,
      el(
        'dl',
        { class: 'facts' },
        fact('Up for', this.#facts.uptime), // the one that grows has room to the left
        fact('Server', this.#facts.server),
        fact('Version', this.#facts.version),
        fact('Mode', this.#facts.mode),
      ),
      this.#stale,
    )
  }

  render(model: Model, connection: Connection): void {
    const { limits } = model
    mark(this.#connection, 'data-connection', connection)
    say(this.#connection, WORDS[connection])
    const away = connection === 'reconnecting'
    const newest = model.series.latest
    this.#stale.hidden = !away
    if (away) {
      const since = newest === undefined ? '' : ` What you see is of ${timeOfDay(newest.at)}.`
      say(this.#stale, `The server does not answer.${since} The page goes on by itself when it is back.`)
    }
    say(this.#facts.version, limits?.version ?? '–')
    say(this.#facts.mode, limits?.mode ?? '–')
    if (!away)
      say(this.#facts.uptime, limits === null ? '–' : duration(Math.floor(model.now() - limits.started_at)))
  }
}
