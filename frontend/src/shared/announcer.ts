/** Says to screen readers what happened, politely, and what came in the meantime in one go. */

const PAUSE_MS = 1000
const MOST = 3

let region: HTMLElement | null = null
let waiting: string[] = []
let speaking = false

/** Say a sentence; of many at once, the first few and how many more there are. */
export function announce(sentence: string): void {
  waiting.push(sentence)
  if (speaking) return
  speaking = true
  setTimeout(say, region === null ? 100 : 50) // a region that is new with its text is not read
  region ??= makeRegion()
}

function makeRegion(): HTMLElement {
  const made = document.createElement('div')
  made.className = 'visually-hidden'
  made.setAttribute('role', 'status')
  document.body.append(made)
  return made
}

function say(): void {
  if (waiting.length === 0) {
    speaking = false
    return
  }
  const said = waiting.slice(0, MOST)
  if (waiting.length > MOST) said.push(`And ${waiting.length - MOST} more.`)
  waiting = []
  if (region !== null) region.textContent = said.join(' ')
  setTimeout(say, PAUSE_MS)
}
