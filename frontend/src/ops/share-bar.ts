/** A bar of the six causes' shares: one tells apart colours and strokes, and the words beside it say the same. */

import { CAUSES, shares, sharesInWords, WORDS } from './causes.ts'
import { el, say, style } from './dom.ts'
import type { Causes } from './messages.ts'

export class ShareBar {
  readonly element: HTMLElement
  readonly #words = el('span', { class: 'visually-hidden' })
  readonly #parts = CAUSES.map((cause) => el('span', { 'data-cause': cause, 'aria-hidden': 'true' }))

  constructor(className: string) {
    this.element = el('span', { class: `share-bar ${className}` }, this.#words, ...this.#parts)
  }

  render(causes: Causes): void {
    const words = sharesInWords(causes)
    say(this.#words, words)
    if (this.element.title !== words) this.element.title = words
    shares(causes).forEach(({ share }, index) => {
      const part = this.#parts[index]
      if (part !== undefined) style(part, 'width', `${(share * 100).toFixed(1)}%`)
    })
  }
}

/** A cause's name with its colour and stroke before it. */
export function causeLabel(cause: (typeof CAUSES)[number]): HTMLElement {
  return el(
    'span',
    { class: 'cause' },
    el('span', { class: 'swatch', 'data-cause': cause }),
    WORDS[cause].label,
  )
}
