/**
 * Dark or light: the system's choice, until somebody makes one here; kept in this browser.
 *
 * `data-theme` on the root element is always one of the two, so that theme.css has each set of colours once.
 */

export type Theme = 'light' | 'dark'

const KEY = 'forebay.theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const listeners = new Set<() => void>()

function systemTheme(): Theme {
  return system.matches ? 'dark' : 'light'
}

function chosen(): Theme | null {
  try {
    const value = localStorage.getItem(KEY)
    return value === 'light' || value === 'dark' ? value : null
  } catch {
    return null // storage is forbidden here: then nothing is kept
  }
}

export function currentTheme(): Theme {
  return chosen() ?? systemTheme()
}

/** Show it; to be called once before anything is drawn. */
export function showTheme(): void {
  document.documentElement.dataset.theme = currentTheme()
  for (const listener of listeners) listener()
}

/** The other theme from now on. A choice that the system makes too is not kept, so that the system is followed again. */
export function toggleTheme(): void {
  const theme: Theme = currentTheme() === 'dark' ? 'light' : 'dark'
  try {
    if (theme === systemTheme()) localStorage.removeItem(KEY)
    else localStorage.setItem(KEY, theme)
  } catch {
    return // it can't be kept: the system's stays
  }
  showTheme()
}

/** `listener` is called when the theme has changed, for what is drawn on a canvas; returns the end of it. */
export function onThemeChange(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

system.addEventListener('change', showTheme)
