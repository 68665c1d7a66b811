/** The head of both pages: brand, the other page, theme, who is signed in. */

import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Icon } from './icons.tsx'
import mark from './mark.svg'
import { hasSignedIn, type Session, signOut } from './session.ts'
import { currentTheme, onThemeChange, toggleTheme } from './theme.ts'

export interface PageHeadProps {
  session: Session | null
  /** Links to elsewhere. */
  children?: ComponentChildren
}

export function PageHead({ session, children }: PageHeadProps): JSX.Element {
  return (
    <header class="page-head">
      <a class="brand" href="/">
        <img src={mark} alt="" width="30" height="30" />
        Forebay
      </a>
      {children}
      <ThemeToggle />
      {session !== null && hasSignedIn() && (
        <>
          <span class="who" title={session.user}>
            <span class="visually-hidden">Signed in as </span>
            {session.user}
          </span>
          <SignOut />
        </>
      )}
    </header>
  )
}

function ThemeToggle(): JSX.Element {
  const [theme, setTheme] = useState(currentTheme)
  useEffect(() => onThemeChange(() => setTheme(currentTheme())), [])
  return (
    <button
      type="button"
      class="icon-button"
      aria-label="Dark colours"
      aria-pressed={theme === 'dark'}
      title={theme === 'dark' ? 'Light colours' : 'Dark colours'}
      onClick={toggleTheme}
    >
      <Icon name={theme === 'dark' ? 'sun' : 'moon'} />
    </button>
  )
}

function SignOut(): JSX.Element {
  const leave = async (): Promise<void> => {
    await signOut().catch(() => undefined) // a server that is away asks again when it is back
    location.reload()
  }
  return (
    <button type="button" class="icon-button" aria-label="Sign out" title="Sign out" onClick={leave}>
      <Icon name="signOut" />
    </button>
  )
}
