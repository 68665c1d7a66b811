/** Which elements can be seen, or nearly: what can't be need not be written twice a second. */

const NEARLY = '200px 0px'

export class InView {
  readonly #seen = new Set<Element>()
  readonly #observer: IntersectionObserver

  /** `onEnter` is called with each element that comes into view. */
  constructor(onEnter: (element: Element) => void) {
    this.#observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (!isIntersecting) this.#seen.delete(target)
          else if (!this.#seen.has(target)) {
            this.#seen.add(target)
            onEnter(target)
          }
        }
      },
      { rootMargin: NEARLY },
    )
  }

  watch(element: Element): void {
    this.#observer.observe(element)
  }

  forget(element: Element): void {
    this.#observer.unobserve(element)
    this.#seen.delete(element)
  }

  has(element: Element): boolean {
    return this.#seen.has(element)
  }
}
