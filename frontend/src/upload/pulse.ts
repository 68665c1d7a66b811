/** Redrawing: at once when nothing was drawn lately, else together with what else has changed, four times a second. */

export const REDRAW_MS = 250

export class Pulse {
  readonly #draw: () => void
  #last = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(draw: () => void) {
    this.#draw = draw
  }

  /** Something has changed. */
  beat(): void {
    if (this.#timer !== undefined) return
    const due = this.#last + REDRAW_MS - performance.now()
    this.#timer = setTimeout(this.#run, Math.max(0, due))
  }

  #run = (): void => {
    this.#timer = undefined
    this.#last = performance.now()
    this.#draw()
  }
}
