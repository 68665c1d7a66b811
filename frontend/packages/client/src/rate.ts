/** Bytes per second over the last seconds. */

const WINDOW_MS = 5000
const SAMPLE_MS = 250

/** Fed with a rising count; a fall (something is sent again) begins a new window. */
export class Rate {
  #samples: { at: number; count: number }[] = []

  /** Take note that `count` bytes have gone by `now` (ms). */
  add(count: number, now: number): void {
    const last = this.#samples.at(-1)
    if (last !== undefined && count < last.count) this.#samples = []
    if (last === undefined || this.#samples.length === 0 || now - last.at >= SAMPLE_MS) {
      this.#samples.push({ at: now, count })
    }
    while ((this.#samples[1]?.at ?? now) <= now - WINDOW_MS) this.#samples.shift()
  }

  /** Forget: after a pause, or in another phase. */
  reset(): void {
    this.#samples = []
  }

  /** Bytes per second by `now` (ms), given the present count; 0 until there is something to tell. */
  perSecond(count: number, now: number): number {
    const first = this.#samples[0]
    if (first === undefined || now - first.at < SAMPLE_MS) return 0
    return Math.max(0, ((count - first.count) * 1000) / (now - first.at))
  }
}
