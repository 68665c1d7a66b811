/**
 * The table of uploads under way.
 *
 * Laws: a row is one element for as long as its upload lives, and only what differs in it is written: at once where it can
 * be seen, by and by elsewhere; rows don't change places while the keyboard's focus is among them; what comes from users is text.
 */

import { arrange, el, mark, say } from './dom.ts'
import { number } from './format.ts'
import { InView } from './in-view.ts'
import type { Row } from './messages.ts'
import { arranged, BEGIN, type SortKey, startsDescending, type View } from './table-order.ts'
import { COLUMNS, RowView } from './upload-row.ts'

const UNSEEN_AT_ONCE = 20

const STATES: readonly { value: string; label: string }[] = [
  { value: '', label: 'All states' },
  { value: 'created', label: 'Created' },
  { value: 'waiting', label: 'In the queue' },
  { value: 'receiving', label: 'Receiving' },
  { value: 'transferring', label: 'Transferring' },
  { value: 'problem', label: 'Held up' },
]

export class UploadTable {
  readonly element: HTMLElement
  readonly #body = el('tbody', { role: 'rowgroup' })
  readonly #scroll: HTMLElement
  readonly #views = new Map<string, RowView>()
  readonly #byElement = new Map<Element, RowView>()
  readonly #inView = new InView((element) => this.#byElement.get(element)?.draw())
  /** Rows out of view that are not drawn as they are, the longest first. */
  readonly #late = new Set<RowView>()
  readonly #heads = new Map<SortKey, HTMLElement>()
  readonly #text: HTMLInputElement
  readonly #state: HTMLSelectElement
  readonly #sort: HTMLSelectElement
  readonly #count = el('p', { class: 'dim number' })
  readonly #none = el('p', { class: 'table-none dim' })
  readonly #onCancel: (row: Row) => void
  readonly #onView: () => void
  #view: View = BEGIN
  /** The order was asked for anew. */
  #reorder = false

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
    this.#scroll = el(
      'div',
      { class: 'table-scroll', role: 'group', tabindex: '0', 'aria-label': 'Table of uploads, scrolls' },
      table,
      this.#none,
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
      this.#scroll,
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
    this.#forget(rows)
    const shown = arranged(rows.values(), this.#view)
    this.#place(shown.map((row) => this.#viewOf(row).element))
    for (const view of [...this.#late].slice(0, UNSEEN_AT_ONCE)) {
      this.#late.delete(view)
      view.draw()
    }
    const part = shown.length === rows.size ? '' : `${number(shown.length)} of `
    say(this.#count, `${part}${number(rows.size)}`)
    this.#none.hidden = shown.length > 0
    say(this.#none, rows.size > 0 ? 'No upload is like that.' : 'No upload is under way.')
  }

  #viewOf(row: Row): RowView {
    let view = this.#views.get(row.id)
    if (view === undefined) {
      view = new RowView(this.#onCancel)
      this.#views.set(row.id, view)
      this.#byElement.set(view.element, view)
      this.#inView.watch(view.element)
      view.take(row)
      view.draw()
    }
    view.take(row)
    if (this.#inView.has(view.element)) view.draw()
    else if (view.isLate) this.#late.add(view)
    return view
  }

  #forget(rows: ReadonlyMap<string, Row>): void {
    for (const [id, view] of this.#views) {
      if (rows.has(id)) continue
      if (view.element.contains(document.activeElement)) this.#scroll.focus()
      this.#views.delete(id)
      this.#late.delete(view)
      this.#byElement.delete(view.element)
      this.#inView.forget(view.element)
    }
  }

  /** In this order; while the focus is among them, those that are there stay where they are, and new ones come last. */
  #place(wanted: readonly HTMLElement[]): void {
    if (this.#reorder || !this.#body.contains(document.activeElement)) {
      arrange(this.#body, wanted)
    } else {
      const present = new Set<Element>(this.#body.children)
      const still = new Set<Element>(wanted)
      const staying = [...present].filter((element) => still.has(element))
      arrange(this.#body, [...staying, ...wanted.filter((element) => !present.has(element))])
    }
    this.#reorder = false
  }

  #change(part: Partial<View>): void {
    this.#view = { ...this.#view, ...part }
    this.#reorder = true
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

  /** Once in the direction that is of more interest, then in the other, then by age again. */
  #sortBy(key: SortKey): void {
    const first = startsDescending(key)
    if (key !== this.#view.sort) this.#change({ sort: key, descending: first })
    else if (this.#view.descending === first) this.#change({ descending: !first })
    else this.#change({ sort: BEGIN.sort, descending: BEGIN.descending })
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
