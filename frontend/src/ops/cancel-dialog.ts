/** "Cancel this upload?": asked before, said after. */

import { announce } from '../shared/announcer.ts'
import { ApiError, api } from '../shared/api.ts'
import { bytes } from '../shared/format.ts'
import { el, say } from './dom.ts'
import type { Row } from './messages.ts'

export class CancelDialog {
  readonly element: HTMLDialogElement
  readonly #question = el('p')
  readonly #problem = el('p', { class: 'dialog-problem', role: 'alert' })
  readonly #confirm = el('button', { type: 'button', class: 'button danger' }, 'Cancel the upload')
  #row: Row | null = null

  constructor() {
    const keep = el('button', { type: 'button', class: 'button' }, 'Keep it')
    keep.addEventListener('click', () => this.element.close())
    this.#confirm.addEventListener('click', () => void this.#cancel())
    this.element = el(
      'dialog',
      { class: 'dialog', 'aria-labelledby': 'cancel-title' },
      el('h2', { id: 'cancel-title' }, 'Cancel this upload?'),
      this.#question,
      el('p', { class: 'dim' }, 'What was received of it is removed. Its owner sees it as cancelled.'),
      this.#problem,
      el('div', { class: 'dialog-buttons' }, keep, this.#confirm),
    )
  }

  ask(row: Row): void {
    this.#row = row
    say(
      this.#question,
      `“${row.filename}” of ${row.owner}, ${row.size === null ? `${bytes(row.received)} so far` : bytes(row.size)}.`,
    )
    say(this.#problem, '')
    this.#confirm.disabled = false
    this.element.showModal()
  }

  async #cancel(): Promise<void> {
    const row = this.#row
    if (row === null) return
    this.#confirm.disabled = true
    try {
      await api('DELETE', `/ops/uploads/${encodeURIComponent(row.id)}`)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (error.status !== 404) {
        say(this.#problem, error.message)
        this.#confirm.disabled = false
        return
      }
    }
    this.element.close()
    announce(`The upload of ${row.filename} was cancelled.`)
  }
}
