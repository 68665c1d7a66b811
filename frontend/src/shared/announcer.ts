/** Says to screen readers what happened, politely, and what came in the meantime in one go. */

const PAUSE_MS = 1000
const MOST = 3

let region: HTMLElement | null = null
let waiting: string[] = []
let timer: ReturnType<typeof setTimeout> | undefined

/** Say a sentence; of many at once, the first few and how many more there are. */
export function announce(sentence: string): void {
  waiting.push(sentence)
  timer ??= setTimeout(say, 50)
}

function say(): void {
  if (region === null) {
    region = document.createElement('div')
    region.className = 'visually-hidden'
    region.setAttribute('role', 'status')
    region.setAttribute('aria-live', 'polite')
    document.body.append(region)
    timer = setTimeout(say, 100) // a region that is new with its text is not read
    return
  }
  const said = waiting.slice(0, MOST)
  if (waiting.length > MOST) said.push(`And ${waiting.length - MOST} more.`)
  waiting = []
  region.textContent = said.join(' ')
  timer = setTimeout(() => {
    timer = undefined
    if (waiting.length > 0) say()
  }, PAUSE_MS)
}
