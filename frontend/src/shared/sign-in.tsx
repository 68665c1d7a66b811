/** Asking for a token; only when the server wants one. */

import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { ApiError } from './api.ts'
import { type Session, signIn } from './session.ts'

export interface SignInProps {
  /** Why it is asked for, in a sentence. */
  why: string
  onSignedIn(session: Session): void
}

export function SignIn({ why, onSignedIn }: SignInProps): JSX.Element {
  const field = useRef<HTMLInputElement>(null)
  const [problem, setProblem] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)

  useEffect(() => field.current?.focus(), [])

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    const token = field.current?.value.trim() ?? ''
    if (busy) return
    if (token === '') {
      setProblem('Paste the token that you were given.')
      field.current?.focus()
      return
    }
    setBusy(true)
    try {
      onSignedIn(await signIn(token))
    } catch (error) {
      setProblem(error instanceof ApiError ? error.message : 'That did not work. Try again.')
      setBusy(false)
      field.current?.select()
    }
  }

  return (
    <form class="card sign-in" onSubmit={submit} noValidate>
      <div>
        <h1>Sign in</h1>
        <p class="dim">{why}</p>
      </div>
      <div class="field">
        <label for="token">Access token</label>
        <input
          id="token"
          ref={field}
          type="password"
          autocomplete="current-password"
          autocapitalize="off"
          spellcheck={false}
          aria-invalid={problem !== null}
          aria-describedby="token-problem"
        />
        <p id="token-problem" class="problem" role="alert">
          {problem}
        </p>
      </div>
      <button class="button primary" type="submit" aria-disabled={busy}>
        {busy ? 'Signing in…' : 'Sign in'}
      </button>
    </form>
  )
}
