/** Listeners by event, typed. What a listener throws is reported as uncaught, and disturbs neither us nor the others. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>()

  on<K extends keyof Events>(event: K, listener: (value: Events[K]) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners)
    const own = (value: Events[K]) => listener(value) // the same listener twice is two listeners
    listeners.add(own)
    return () => listeners.delete(own)
  }

  emit<K extends keyof Events>(event: K, value: Events[K]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])] as ((value: Events[K]) => void)[]) {
      try {
        listener(value)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
