/**
 * Files that were uploaded, noted at once. Golden-retriever writes down what it keeps twice a second only: a file that was
 * finished in the moment before a refresh would come back as one that is not.
 */

const MOST = 1000

export class Finished {
  readonly #key: string

  constructor(name: string) {
    this.#key = `${name}.finished`
  }

  /** Ids since the last `clear`. */
  get ids(): Set<string> {
    try {
      return new Set(JSON.parse(localStorage.getItem(this.#key) ?? '[]') as string[])
    } catch {
      return new Set()
    }
  }

  add(id: string): void {
    try {
      localStorage.setItem(this.#key, JSON.stringify([...this.ids, id].slice(-MOST)))
    } catch {
      // no storage here, or it is full: then the file is asked for again
    }
  }

  /** Once golden-retriever has spoken, and before anything else is finished. */
  clear(): void {
    try {
      localStorage.removeItem(this.#key)
    } catch {
      // as above
    }
  }
}
