/** How many chunks may be in flight: of one upload (`Gate`), and of all uploads of a client together (`LanePool`). */

/** Releases what was acquired; calling it again changes nothing. */
export type Release = () => void

function once(action: () => void): Release {
  let done = false
  return () => {
    if (!done) action()
    done = true
  }
}

/** A promise that resolves when `ready` is called and rejects when the signal aborts. */
function waiter(signal: AbortSignal): { promise: Promise<void>; ready: () => void } {
  let ready = () => {}
  const promise = new Promise<void>((resolve, reject) => {
    const aborted = () => reject(signal.reason)
    if (signal.aborted) return aborted()
    signal.addEventListener('abort', aborted, { once: true })
    ready = () => {
      signal.removeEventListener('abort', aborted)
      resolve()
    }
  })
  return { promise, ready }
}

/**
 * Additive increase, multiplicative decrease (the shape of RFC 5681 section 3.1).
 *
 * Why: on a line that breaks every thirty seconds, four chunks side by side may each need a minute, and none would ever
 * arrive. A broken connection halves the number (once per wave, however many break together), each chunk that arrives
 * adds a share, so that a whole round of successes adds one.
 */
export class Gate {
  #limit: number
  #held = 0
  #wave = 0
  #narrow = false
  readonly #most: number
  readonly #waiting = new Set<() => void>()

  constructor(most: number) {
    this.#most = most
    this.#limit = most
  }

  /** How many may be in flight now; at least 1. */
  get limit(): number {
    return this.#narrow ? 1 : Math.floor(this.#limit)
  }

  /** Wait for a place; gives the wave in which it was taken, for `shrink`. Rejects with the signal's reason. */
  async enter(signal: AbortSignal): Promise<{ wave: number; leave: Release }> {
    while (this.#held >= this.limit) {
      const { promise, ready } = waiter(signal)
      this.#waiting.add(ready)
      try {
        await promise
      } finally {
        this.#waiting.delete(ready)
      }
    }
    signal.throwIfAborted()
    this.#held++
    return {
      wave: this.#wave,
      leave: once(() => {
        this.#held--
        this.#wake()
      }),
    }
  }

  /** A chunk arrived. */
  grow(): void {
    this.#limit = Math.min(this.#most, this.#limit + 1 / this.#limit)
    this.#wake()
  }

  /** A connection that was opened in `wave` broke; others that break of the same wave change nothing more. */
  shrink(wave: number): void {
    if (wave !== this.#wave) return
    this.#wave++
    this.#limit = Math.max(1, this.#limit / 2)
  }

  /** One at a time while the server has no slot for the upload: what waits there holds a connection of the browser's. */
  narrow(on: boolean): void {
    this.#narrow = on
    this.#wake()
  }

  #wake(): void {
    for (const ready of this.#waiting) ready()
  }
}

/** A fixed number of places for many holders; a free one goes to the holder that has the fewest, the longest waiting of these. */
export class LanePool {
  readonly size: number
  #free: number
  readonly #held = new Map<object, number>()
  readonly #waiting: { holder: object; ready: () => void }[] = []

  constructor(size: number) {
    this.size = size
    this.#free = size
  }

  /** Wait for a place. Rejects with the signal's reason. */
  async acquire(holder: object, signal: AbortSignal): Promise<Release> {
    if (this.#free > 0) {
      signal.throwIfAborted()
      this.#take(holder)
    } else {
      const { promise, ready } = waiter(signal)
      const entry = { holder, ready }
      this.#waiting.push(entry)
      try {
        await promise // `#give` has taken the place for us
      } catch (error) {
        const index = this.#waiting.indexOf(entry)
        if (index >= 0) this.#waiting.splice(index, 1)
        throw error
      }
    }
    return once(() => {
      this.#free++
      const held = this.#held.get(holder) ?? 1
      if (held > 1) this.#held.set(holder, held - 1)
      else this.#held.delete(holder)
      this.#give()
    })
  }

  #take(holder: object): void {
    this.#free--
    this.#held.set(holder, (this.#held.get(holder) ?? 0) + 1)
  }

  #give(): void {
    let next = 0
    const heldBy = (index: number) => this.#held.get(this.#waiting[index]?.holder ?? this) ?? 0
    for (let index = 1; index < this.#waiting.length; index++) if (heldBy(index) < heldBy(next)) next = index
    const [entry] = this.#waiting.splice(next, 1)
    if (entry === undefined) return
    this.#take(entry.holder)
    entry.ready()
  }
}
