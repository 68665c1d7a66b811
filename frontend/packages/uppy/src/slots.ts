/** Files that are sent at once: so many, in the order in which they came. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#free = limit
  }

  /** Call `go` when a slot is free, now or later; gives what ends that: returns the slot, or the place in the line. */
  take(go: () => void): () => void {
    let state: 'waiting' | 'held' | 'left' = 'waiting'
    const begin = () => {
      state = 'held'
      this.#free--
      go()
    }
    if (this.#free > 0) begin()
    else this.#waiting.push(begin)
    return () => {
      if (state === 'held') {
        this.#free++
        this.#waiting.shift()?.()
      } else if (state === 'waiting') {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1)
      }
      state = 'left'
    }
  }
}
