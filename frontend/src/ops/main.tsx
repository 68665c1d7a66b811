/** Entry of `/ops`: who may see it sees the board; others are asked for an operator's token. */

import { type JSX, render } from 'preact'
import { ApiError } from '../shared/api.ts'
import { PageHead } from '../shared/page-head.tsx'
import { type Session, whoAmI } from '../shared/session.ts'
import { SignIn } from '../shared/sign-in.tsx'
import { showTheme } from '../shared/theme.ts'
import '../shared/theme.css'
import { Board } from './board.ts'
import './ops.css'

const AGAIN_MS = 3000

const head = document.createElement('div')
const main = document.createElement('main')
let board: Board | null = null

showTheme()
document.getElementById('app')?.append(head, main)
void begin()

async function begin(): Promise<void> {
  board?.close()
  board = null
  try {
    admit(await whoAmI())
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    show(<p class="notice warn ops-notice">{error.message} This page tries again by itself.</p>)
    setTimeout(() => void begin(), AGAIN_MS)
  }
}

function admit(session: Session | null): void {
  render(
    <PageHead session={session}>
      <a class="button small quiet" href="/">
        Upload files
      </a>
    </PageHead>,
    head,
  )
  if (session === null) show(<SignIn why="This page needs the token of an operator." onSignedIn={admit} />)
  else if (!session.operator) show(<NoOperator user={session.user} />)
  else {
    render(null, main)
    board = new Board(main, () => void begin())
  }
}

/** Show this instead of the board. */
function show(page: JSX.Element): void {
  main.replaceChildren()
  render(page, main)
}

function NoOperator({ user }: { user: string }): JSX.Element {
  return (
    <div class="ops-refused">
      <p class="notice warn" role="alert">
        This page is for operators; {user} is not one.
      </p>
      <SignIn why="This page needs the token of an operator." onSignedIn={admit} />
    </div>
  )
}
