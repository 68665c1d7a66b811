/** The upload page `/`. */

import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import '../shared/theme.css'
import './upload.css'
import { ApiError } from '../shared/api.ts'
import { Icon } from '../shared/icons.tsx'
import { PageHead } from '../shared/page-head.tsx'
import { type Session, whoAmI } from '../shared/session.ts'
import { SignIn } from '../shared/sign-in.tsx'
import { showTheme } from '../shared/theme.ts'
import { App } from './app.tsx'

const RETRY_MS = 3000

type Start = { session: Session } | { problem: string } | 'asks' | 'begins'

function Page() {
  const [start, setStart] = useState<Start>('begins')

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const begin = async (): Promise<void> => {
      try {
        const session = await whoAmI()
        setStart(session === null ? 'asks' : { session })
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        setStart({ problem: error.message })
        if (error.status === 0 || error.status >= 500)
          timer = setTimeout(begin, error.retryAfterMs ?? RETRY_MS)
      }
    }
    void begin()
    return () => clearTimeout(timer)
  }, [])

  if (typeof start === 'object' && 'session' in start) return <App session={start.session} />
  return (
    <div class="page">
      <PageHead session={null} />
      <main>
        {start === 'asks' && (
          <SignIn
            why="This server wants to know who uploads. Whoever runs it gives out tokens."
            onSignedIn={(session) => setStart({ session })}
          />
        )}
        {typeof start === 'object' && (
          <div class="notice bad" role="alert">
            <Icon name="alert" />
            <p>{start.problem}</p>
          </div>
        )}
      </main>
    </div>
  )
}

showTheme()
const root = document.getElementById('app')
if (root !== null) render(<Page />, root)
