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

let signedInAt = Number.NEGATIVE_INFINITY

/** Whether somebody has signed in since a moment (`Date.now()`): what was sent before, and refused, is to be sent again. */
export function hasSignedInSince(moment: number): boolean {
  return moment <= signedInAt
}

/** Exchange a token for the cookie; throws `ApiError` when the server does not take it. */
export async function signIn(token: string): Promise<Session> {
  const session = await api<Session>('POST', '/session', { body: { token } })
  signedInAt = Date.now()
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
