/** What changed lately, newest first, each with the sentence an operator needs. */

import { arrange, el, mark, say } from './dom.ts'
import { number, whenHappened } from './format.ts'
import type { Incident } from './messages.ts'

const KINDS: Record<Incident['kind'], { label: string; level: 'ok' | 'warn' | 'bad' }> = {
  start: { label: 'Start', level: 'ok' },
  stop: { label: 'Stop', level: 'ok' },
  refusal: { label: 'Refusal', level: 'warn' },
  failure: { label: 'Failure', level: 'bad' },
  destination: { label: 'Destination', level: 'warn' },
  memory: { label: 'Memory', level: 'warn' },
}

class Entry {
  readonly element: HTMLElement
  readonly #time = el('time', { class: 'incident-time' })
  readonly #kind = el('span', { class: 'badge' })
  readonly #sentence = el('span')
  readonly #count = el('span', { class: 'incident-count' })
  readonly #about = el('span', { class: 'incident-about' })
  readonly #show = el('button', { type: 'button', class: 'link-button' }, 'Show upload')
  #upload: string | null = null

  constructor(onUpload: (id: string) => void) {
    this.element = el(
      'li',
      { class: 'incident' },
      this.#time,
      this.#kind,
      el('span', { class: 'incident-words' }, this.#sentence, ' ', this.#count, this.#about, this.#show),
    )
    this.#show.addEventListener('click', () => {
      if (this.#upload !== null) onUpload(this.#upload)
    })
  }

  render(incident: Incident, underWay: boolean): void {
    const { label, level } = KINDS[incident.kind]
    mark(this.#time, 'datetime', new Date(incident.at * 1000).toISOString())
    mark(this.#time, 'title', new Date(incident.at * 1000).toLocaleString())
    say(this.#time, whenHappened(incident.at))
    mark(this.element, 'data-level', level)
    say(this.#kind, label)
    say(this.#sentence, incident.sentence)
    say(this.#count, incident.count > 1 ? `${number(incident.count)} times` : '')
    say(this.#about, incident.owner === null ? '' : `Owner: ${incident.owner}`)
    this.#upload = incident.upload_id
    this.#show.hidden = !underWay
  }
}

export class Incidents {
  readonly element: HTMLElement
  readonly #list = el('ol', {
    class: 'panel incidents',
    tabindex: '0',
    'aria-label': 'What happened lately, newest first',
  })
  readonly #none = el('p', { class: 'panel dim incidents-none' }, 'Nothing since the server started.')
  readonly #entries = new Map<number, Entry>()
  readonly #onUpload: (id: string) => void

  constructor(onUpload: (id: string) => void) {
    this.#onUpload = onUpload
    this.element = el(
      'section',
      { 'aria-labelledby': 'incidents-title' },
      el('h2', { id: 'incidents-title' }, 'What happened lately'),
      this.#none,
      this.#list,
    )
  }

  render(incidents: readonly Incident[], isUnderWay: (id: string) => boolean): void {
    this.#none.hidden = incidents.length > 0
    this.#list.hidden = incidents.length === 0
    const ids = new Set(incidents.map((incident) => incident.id))
    for (const id of [...this.#entries.keys()]) if (!ids.has(id)) this.#entries.delete(id)
    const elements = incidents.map((incident) => {
      const entry = this.#entries.get(incident.id) ?? new Entry(this.#onUpload)
      this.#entries.set(incident.id, entry)
      entry.render(incident, incident.upload_id !== null && isUnderWay(incident.upload_id))
      return entry.element
    })
    arrange(this.#list, elements)
  }
}
