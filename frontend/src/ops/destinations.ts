/** A card for each destination: whether it works, what it needs, how much of its quota is used. */

import { bytes, duration } from '../shared/format.ts'
import { arrange, el, mark, say, style } from './dom.ts'
import { number, sharePercent } from './format.ts'
import type { Destination, Destinations } from './messages.ts'

const KINDS: Readonly<Record<string, string>> = {
  disk: 'Directory',
  gdrive: 'Google Drive',
  s3: 'S3 bucket',
  azure: 'Azure container',
}

/** What a destination reports of itself, as pairs of what is used and what there is. */
const QUOTAS: readonly { label: string; used: string; limit: string }[] = [
  { label: 'Sent in 24 hours', used: 'sent_in_24_hours', limit: 'daily_limit' },
  { label: 'Storage used', used: 'storage_used', limit: 'storage_limit' },
]

export interface Quota {
  label: string
  words: string
  /** 0 to 1; null where there is no limit. */
  share: number | null
}

export function quotas(report: Destination['report']): Quota[] {
  const found: Quota[] = []
  for (const { label, used: usedName, limit: limitName } of QUOTAS) {
    const used = report?.[usedName]
    const limit = report?.[limitName]
    if (typeof used !== 'number') continue
    if (typeof limit === 'number' && limit > 0) {
      const share = Math.min(1, used / limit)
      found.push({ label, words: `${bytes(used)} of ${bytes(limit)} (${sharePercent(share)})`, share })
    } else {
      found.push({ label, words: bytes(used), share: null })
    }
  }
  return found
}

/** Whether it works, in a word, and how that looks. */
export function health(
  destination: Destination,
  now: number,
): { level: 'ok' | 'warn' | 'bad'; words: string } {
  if (destination.breaker === 'open') {
    const left = destination.backoff_until === null ? 0 : destination.backoff_until - now
    const next = left > 0 ? `next attempt in ${duration(left)}` : 'being tried now'
    return { level: 'bad', words: `Left alone, ${next}` }
  }
  if (destination.parked > 0) return { level: 'warn', words: `${number(destination.parked)} parked` }
  if (destination.waiting > 0) return { level: 'warn', words: 'Works, some are tried again' }
  return { level: 'ok', words: 'Works' }
}

class Card {
  readonly element: HTMLElement
  readonly #state = el('p', { class: 'health' })
  readonly #sentence = el('p', { class: 'destination-sentence' })
  readonly #kind = el('span', { class: 'destination-kind' })
  readonly #numbers = {
    transferring: el('dd'),
    waiting: el('dd'),
    parked: el('dd'),
  }
  readonly #quotas = el('div', { class: 'quotas' })
  #destination: Destination | null = null

  constructor(name: string) {
    this.element = el(
      'li',
      { class: 'panel destination' },
      el('h3', {}, name, ' ', this.#kind),
      this.#state,
      this.#sentence,
      el(
        'dl',
        { class: 'destination-numbers' },
        el('div', {}, el('dt', {}, 'Transferring'), this.#numbers.transferring),
        el('div', {}, el('dt', {}, 'Tried again'), this.#numbers.waiting),
        el('div', {}, el('dt', {}, 'Parked'), this.#numbers.parked),
      ),
      this.#quotas,
    )
  }

  render(destination: Destination, now: number): void {
    const { level, words } = health(destination, now)
    mark(this.element, 'data-level', level)
    say(this.#state, words)
    if (destination === this.#destination) return
    this.#destination = destination
    say(this.#kind, KINDS[destination.kind] ?? destination.kind)
    say(this.#sentence, destination.sentence ?? '')
    say(this.#numbers.transferring, number(destination.transferring))
    say(this.#numbers.waiting, number(destination.waiting))
    say(this.#numbers.parked, number(destination.parked))
    this.#quotas.replaceChildren(...quotas(destination.report).map(quotaBar))
  }
}

function quotaBar(quota: Quota): HTMLElement {
  const words = el('p', { class: 'quota-words' }, el('span', {}, quota.label), el('span', {}, quota.words))
  if (quota.share === null) return el('div', { class: 'quota' }, words)
  const filled = el('span', { class: 'quota-filled' })
  style(filled, 'width', `${(quota.share * 100).toFixed(1)}%`)
  return el(
    'div',
    { class: 'quota' },
    words,
    el('div', { class: 'quota-bar', 'aria-hidden': 'true' }, filled),
  )
}

export class DestinationCards {
  readonly element: HTMLElement
  readonly #list = el('ul', { class: 'destinations' })
  readonly #cards = new Map<string, Card>()

  constructor() {
    this.element = el(
      'section',
      { 'aria-labelledby': 'destinations-title' },
      el('h2', { id: 'destinations-title' }, 'Destinations'),
      this.#list,
    )
  }

  render(destinations: Destinations, now: number): void {
    const names = Object.keys(destinations).sort()
    for (const name of [...this.#cards.keys()]) if (!(name in destinations)) this.#cards.delete(name)
    const elements = names.map((name) => {
      const card = this.#cards.get(name) ?? new Card(name)
      this.#cards.set(name, card)
      card.render(destinations[name] as Destination, now)
      return card.element
    })
    arrange(this.#list, elements)
  }
}
