/**
 * The table of uploads under way.
 *
 * Laws: a row is one element for as long as its upload lives, and only what differs in it is written; rows don't change
 * places while the keyboard's focus is among them; what comes from users is text.
 */

import { bytes, percent, rate } from '../shared/format.ts'
import { WORDS } from './causes.ts'
import { arrange, el, mark, say, style } from './dom.ts'
import { number } from './format.ts'
import type { Cause, Row } from './messages.ts'
import { ShareBar } from './share-bar.ts'
import { arranged, BEGIN, type SortKey, share, startsDescending, type View } from './table-order.ts'

const COLUMNS: readonly { key: SortKey | null; label: string; name: string }[] = [
  { key: 'filename', label: 'File', name: 'file' },
  { key: 'owner', label: 'Owner', name: 'owner' },
  { key: 'size', label: 'Size', name: 'size' },
  { key: 'progress', label: 'Received, then stored', name: 'progress' },
  { key: 'bytes_per_second', label: 'Rate', name: 'rate' },
  { key: 'retries', label: 'Retries', name: 'retries' },
  { key: 'cause', label: 'Where its time goes', name: 'where' },
  { key: null, label: 'Cancel', name: 'cancel' },
]

const STATES: readonly { value: string; label: string }[] = [
  { value: '', label: 'All states' },
  { value: 'created', label: 'Created' },
  { value: 'waiting', label: 'In the queue' },
  { value: 'receiving', label: 'Receiving' },
  { value: 'transferring', label: 'Transferring' },
  { value: 'problem', label: 'Held up' },
]

export function stateInWords(row: Row): string {
  if (row.queue_position !== null) return `In the queue, place ${number(row.queue_position)}`
  const words = row.state.charAt(0).toUpperCase() + row.state.slice(1)
  return row.problem === null ? words : `${words}, held up`
}

export function causeInWords(cause: Cause | null): string {
  return cause === null ? 'Nothing waits' : `Waits for ${WORDS[cause].waitsFor}`
}

class RowView {
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

  render(row: Row): void {
    if (row === this.#row) return
    if (this.#row === null) this.#renderFixed(row)
    this.#row = row
    mark(this.element, 'data-state', row.state)
    say(this.#state, stateInWords(row))
    say(this.#problem, row.problem ?? '')
    style(this.#received, 'width', `${(100 * share(row.received, row.size)).toFixed(1)}%`)
    style(this.#stored, 'width', `${(100 * share(row.stored, row.size)).toFixed(1)}%`)
    say(
      this.#phases,
      `${percent(row.received, row.size)} % in, ${percent(row.stored, row.size)} % at ${row.destination}`,
    )
    say(this.#rate, row.bytes_per_second > 0 ? rate(row.bytes_per_second) : '–')
    say(this.#retries, number(row.retries))
    say(this.#cause, causeInWords(row.slowness))
    mark(this.#swatch, 'data-cause', row.slowness ?? 'none')
    this.#bar.render(row.where)
  }

  #renderFixed(row: Row): void {
    say(this.#file, row.filename)
    mark(this.#file, 'title', row.filename)
    say(this.#owner, row.owner)
    mark(this.#owner, 'title', row.owner)
    say(this.#size, bytes(row.size))
    mark(this.element, 'data-upload', row.id)
    mark(this.#cancel, 'aria-label', `Cancel ${row.filename} of ${row.owner}`)
  }
}

export class UploadTable {
  readonly element: HTMLElement
  readonly #body = el('tbody', { role: 'rowgroup' })
  readonly #views = new Map<string, RowView>()
  readonly #heads = new Map<SortKey, HTMLElement>()
  readonly #text: HTMLInputElement
  readonly #state: HTMLSelectElement
  readonly #sort: HTMLSelectElement
  readonly #count = el('p', { class: 'dim number' })
  readonly #none = el('p', { class: 'table-none dim' })
  readonly #onCancel: (row: Row) => void
  readonly #onView: () => void
  #view: View = BEGIN
  #arranged = true

  /** `onView` is called when the view has changed and the table has to be rendered again. */
  constructor(onCancel: (row: Row) => void, onView: () => void) {
    this.#onCancel = onCancel
    this.#onView = onView
    this.#text = el('input', {
      type: 'search',
      id: 'uploads-text',
      placeholder: 'File, owner, destination',
      autocomplete: 'off',
    })
    this.#text.addEventListener('input', () => this.#change({ text: this.#text.value }))
    this.#state = el(
      'select',
      { id: 'uploads-state' },
      ...STATES.map(({ value, label }) => el('option', { value }, label)),
    )
    this.#state.addEventListener('change', () => this.#change({ state: this.#state.value }))
    this.#sort = this.#sortChoice()
    const table = el(
      'table',
      { class: 'uploads', role: 'table', 'aria-labelledby': 'uploads-title' },
      this.#head(),
      this.#body,
    )
    this.element = el(
      'section',
      { class: 'panel uploads-panel', 'aria-labelledby': 'uploads-title' },
      el(
        'div',
        { class: 'section-head' },
        el('h2', { id: 'uploads-title' }, 'Uploads'),
        this.#count,
        el(
          'div',
          { class: 'filters' },
          el('label', { for: 'uploads-text', class: 'visually-hidden' }, 'Filter uploads by text'),
          this.#text,
          el('label', { for: 'uploads-state', class: 'visually-hidden' }, 'Filter uploads by state'),
          this.#state,
          el('label', { for: 'uploads-sort', class: 'visually-hidden' }, 'Sort uploads'),
          this.#sort,
        ),
      ),
      el(
        'div',
        { class: 'table-scroll', role: 'group', tabindex: '0', 'aria-label': 'Table of uploads, scrolls' },
        table,
        this.#none,
      ),
    )
  }

  /** Show one upload, whatever was filtered before. */
  show(id: string): void {
    this.#text.value = id
    this.#state.value = ''
    this.#change({ text: id, state: '' })
    this.element.scrollIntoView({ block: 'nearest' })
    this.#text.focus()
  }

  render(rows: ReadonlyMap<string, Row>): void {
    for (const id of [...this.#views.keys()]) if (!rows.has(id)) this.#views.delete(id)
    const shown = arranged(rows.values(), this.#view)
    const views = shown.map((row) => {
      const view = this.#views.get(row.id) ?? new RowView(this.#onCancel)
      this.#views.set(row.id, view)
      view.render(row)
      return view.element
    })
    if (this.#arranged && this.#body.contains(document.activeElement)) {
      const present = new Set<Element>(views)
      const stay = [...this.#body.children].filter((element) => present.has(element))
      const staying = new Set(stay)
      arrange(this.#body, [...stay, ...views.filter((element) => !staying.has(element))])
    } else {
      arrange(this.#body, views)
    }
    this.#arranged = true
    say(
      this.#count,
      shown.length === rows.size ? number(rows.size) : `${number(shown.length)} of ${number(rows.size)}`,
    )
    this.#none.hidden = shown.length > 0
    say(this.#none, rows.size > 0 ? 'No upload is like that.' : 'No upload is under way.')
  }

  #change(part: Partial<View>): void {
    this.#view = { ...this.#view, ...part }
    this.#arranged = false
    for (const [key, head] of this.#heads) {
      const direction = this.#view.descending ? 'descending' : 'ascending'
      mark(head, 'aria-sort', key === this.#view.sort ? direction : 'none')
    }
    this.#sort.value = this.#view.sort
    this.#onView()
  }

  #head(): HTMLElement {
    const row = el('tr', { role: 'row' })
    for (const { key, label, name } of COLUMNS) {
      const head = el('th', { role: 'columnheader', scope: 'col', class: `column-${name}` })
      row.append(head)
      if (key === null) {
        head.append(el('span', { class: 'visually-hidden' }, label))
        continue
      }
      const button = el('button', { type: 'button', class: 'sort' }, label)
      button.addEventListener('click', () => this.#sortBy(key))
      mark(head, 'aria-sort', 'none')
      head.append(button)
      this.#heads.set(key, head)
    }
    return el('thead', { role: 'rowgroup' }, row)
  }

  #sortBy(key: SortKey): void {
    const again = key === this.#view.sort
    this.#change({ sort: key, descending: again ? !this.#view.descending : startsDescending(key) })
  }

  /** Where the table is cards there are no heads to click on. */
  #sortChoice(): HTMLSelectElement {
    const choice = el('select', { id: 'uploads-sort' }, el('option', { value: 'created_at' }, 'Newest first'))
    for (const { key, label } of COLUMNS)
      if (key !== null) choice.append(el('option', { value: key }, `By ${label.toLowerCase()}`))
    choice.addEventListener('change', () => {
      const key = choice.value as SortKey
      this.#change({ sort: key, descending: startsDescending(key) })
    })
    return choice
  }
}
