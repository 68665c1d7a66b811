/**
 * Which of this browser's tabs this is: 0 for the first, 1 for a second beside it. What a tab keeps for a refresh is
 * kept under its number, so that two tabs don't take up each other's uploads, and a tab opened anew takes up those of
 * the one that was closed.
 */

const KEY = 'forebay.tab'
const MOST = 50
const RELEASE_MS = 1000 // a document that is reloaded holds its lock until it is gone

/** The number; held until the tab is closed or reloaded. */
export async function takeTab(user: string): Promise<number> {
  if (navigator.locks === undefined) return 0 // plain HTTP: one tab at a time has to do
  const before = remembered()
  if (before !== null && (await take(user, before, true))) return remember(before)
  for (let number = 0; number < MOST; number += 1) {
    if (await take(user, number, false)) return remember(number)
  }
  return MOST
}

function take(user: string, number: number, patient: boolean): Promise<boolean> {
  const options: LockOptions = patient ? { signal: AbortSignal.timeout(RELEASE_MS) } : { ifAvailable: true }
  return new Promise((resolve) => {
    const held = (lock: Lock | null): Promise<void> | undefined => {
      resolve(lock !== null)
      return lock === null ? undefined : new Promise(() => undefined) // until the document ends
    }
    navigator.locks.request(`forebay.tab.${user}.${number}`, options, held).catch(() => resolve(false))
  })
}

function remembered(): number | null {
  try {
    const value = sessionStorage.getItem(KEY)
    return value === null ? null : Number(value)
  } catch {
    return null
  }
}

function remember(number: number): number {
  try {
    sessionStorage.setItem(KEY, String(number))
  } catch {
    // then a reload takes the first number that is free
  }
  return number
}
