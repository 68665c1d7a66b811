/** Who is signed in. */

import { ApiError, api } from './api.ts'

export interface Session {
  user: string
  operator: boolean
}

/** Who is signed in, or null when the server wants a token first. Throws `ApiError` otherwise. */
export async function whoAmI(): Promise<Session | null> {
  try {
    return await api<Session>('GET', '/session')
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null
    throw error
  }
}

const KEY = 'forebay.signed-in'

/** Exchange a token for the cookie; throws `ApiError` when the server does not take it. */
export async function signIn(token: string): Promise<Session> {
  const session = await api<Session>('POST', '/session', { body: { token } })
  remember(true)
  return session
}

export async function signOut(): Promise<void> {
  await api<void>('DELETE', '/session')
  remember(false)
}

/** Whether this browser has signed in: scripts can't see the cookie, and where no token is needed there is none. */
export function hasSignedIn(): boolean {
  try {
    return localStorage.getItem(KEY) !== null
  } catch {
    return false
  }
}

function remember(signedIn: boolean): void {
  try {
    if (signedIn) localStorage.setItem(KEY, '1')
    else localStorage.removeItem(KEY)
  } catch {
    // storage is forbidden here: then there is no button to sign out, and the cookie ends with the browser
  }
}
