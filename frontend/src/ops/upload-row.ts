/** One upload of the table. */

import { bytes, percent, rate } from '../shared/format.ts'
import { WORDS } from './causes.ts'
import { el, mark, say, style } from './dom.ts'
import { number } from './format.ts'
import type { Cause, Row } from './messages.ts'
import { ShareBar } from './share-bar.ts'
import { type SortKey, share } from './table-order.ts'

export const COLUMNS: readonly { key: SortKey | null; label: string; name: string }[] = [
  { key: 'filename', label: 'File', name: 'file' },
  { key: 'owner', label: 'Owner', name: 'owner' },
  { key: 'size', label: 'Size', name: 'size' },
  { key: 'progress', label: 'Received, then stored', name: 'progress' },
  { key: 'bytes_per_second', label: 'Rate', name: 'rate' },
  { key: 'retries', label: 'Retries', name: 'retries' },
  { key: 'cause', label: 'Where its time goes', name: 'where' },
  { key: null, label: 'Cancel', name: 'cancel' },
]

export function stateInWords(row: Row): string {
  if (row.queue_position !== null) return `In the queue, place ${number(row.queue_position)}`
  const words = row.state.charAt(0).toUpperCase() + row.state.slice(1)
  return row.problem === null ? words : `${words}, held up`
}

export function causeInWords(cause: Cause | null): string {
  return cause === null ? 'Nothing waits' : `Waits for ${WORDS[cause].waitsFor}`
}

export class RowView {
  readonly element: HTMLTableRowElement
  readonly #file = el('span', { class: 'upload-name' })
  readonly #state = el('span', { class: 'upload-state' })
  readonly #problem = el('span', { class: 'upload-problem' })
  readonly #owner = el('span')
  readonly #size = el('span')
  readonly #received = el('span', { class: 'phase phase-received' })
  readonly #stored = el('span', { class: 'phase phase-stored' })
  readonly #phases = el('span', { class: 'phases-words' })
  readonly #rate = el('span')
  readonly #retries = el('span')
  readonly #bar = new ShareBar('share-bar-small')
  readonly #cause = el('span')
  readonly #swatch = el('span', { class: 'swatch' })
  readonly #cancel = el('button', { type: 'button', class: 'button small' }, 'Cancel')
  #row: Row | null = null
  #drawn: Row | null = null

  constructor(onCancel: (row: Row) => void) {
    const cells: Node[][] = [
      [this.#file, this.#state, this.#problem],
      [this.#owner],
      [this.#size],
      [el('span', { class: 'phases', 'aria-hidden': 'true' }, this.#received, this.#stored), this.#phases],
      [this.#rate],
      [this.#retries],
      [el('span', { class: 'cause' }, this.#swatch, this.#cause), this.#bar.element],
      [this.#cancel],
    ]
    this.element = el('tr', { role: 'row' })
    COLUMNS.forEach(({ label, name }, index) => {
      const role = index === 0 ? 'rowheader' : 'cell'
      const cell = el(index === 0 ? 'th' : 'td', { role, class: `column-${name}`, 'data-label': label })
      if (index === 0) cell.setAttribute('scope', 'row')
      cell.append(...(cells[index] ?? []))
      this.element.append(cell)
    })
    this.#cancel.addEventListener('click', () => {
      if (this.#row !== null) onCancel(this.#row)
    })
  }

  /** What is to be shown with the next `draw`. */
  take(row: Row): void {
    this.#row = row
  }

  /** Whether what is drawn is not what was taken. */
  get isLate(): boolean {
    return this.#row !== this.#drawn
  }

  draw(): void {
    const row = this.#row
    if (row === null || row === this.#drawn) return
    if (this.#drawn === null) this.#drawFixed(row)
    this.#drawn = row
    mark(this.element, 'data-state', row.state)
    say(this.#state, stateInWords(row))
    say(this.#problem, row.problem ?? '')
    style(this.#received, 'width', `${(100 * share(row.received, row.size)).toFixed(1)}%`)
    style(this.#stored, 'width', `${(100 * share(row.stored, row.size)).toFixed(1)}%`)
    say(this.#phases, phases(row))
    say(this.#size, row.size === null ? 'not known' : bytes(row.size))
    say(this.#rate, row.bytes_per_second > 0 ? rate(row.bytes_per_second) : '–')
    say(this.#retries, number(row.retries))
    say(this.#cause, causeInWords(row.slowness))
    mark(this.#swatch, 'data-cause', row.slowness ?? 'none')
    this.#bar.render(row.where)
  }

  /** What stays for as long as the upload lives. */
  #drawFixed(row: Row): void {
    say(this.#file, row.filename)
    mark(this.#file, 'title', row.filename)
    say(this.#owner, row.owner)
    mark(this.#owner, 'title', row.owner)
    mark(this.element, 'data-upload', row.id)
    mark(this.#cancel, 'aria-label', `Cancel ${row.filename} of ${row.owner}`)
  }
}

function phases(row: Row): string {
  if (row.size === null) return `${bytes(row.received)} in`
  return `${percent(row.received, row.size)} % in, ${percent(row.stored, row.size)} % at ${row.destination}`
}
