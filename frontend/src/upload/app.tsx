/** The upload page of somebody who is signed in: what there is, and what happens when something is clicked. */

import type { ServerUpload } from '@forebay/client'
import { Component, createRef, type JSX } from 'preact'
import { announce } from '../shared/announcer.ts'
import { bytes, count } from '../shared/format.ts'
import { Icon } from '../shared/icons.tsx'
import { PageHead } from '../shared/page-head.tsx'
import { hasSignedInSince, type Session } from '../shared/session.ts'
import { SignIn } from '../shared/sign-in.tsx'
import { onThemeChange } from '../shared/theme.ts'
import { Confirm, type Question } from './confirm.tsx'
import { DropZone, PickInput } from './drop-zone.tsx'
import { idOf, MyEvents } from './events.ts'
import { History } from './history.ts'
import { MyUploads } from './my-uploads.tsx'
import type { Picked } from './picked.ts'
import { Pulse, REDRAW_MS } from './pulse.ts'
import { Queue } from './queue.tsx'
import type { RowActions } from './row.tsx'
import { takeTab } from './tab.ts'
import { Uploader } from './uploader.ts'
import { isSending, isUnfinished, type PageFile, phaseOf, rowOf, totalOf } from './view.ts'

const LOST_MS = 2000 // a stream that is back sooner was not worth a word
const MUCH_BYTES = 100_000_000 // so much is not thrown away by one click
const TOAST_MS = 8000

interface State {
  /** Counts redraws: what is drawn is in the uploader and the history. */
  beat: number
  question: Question | null
  toast: string | null
  /** Since when the server does not answer. */
  lost: boolean
  /** Somebody has to sign in again; called with whether they did. */
  signIn: ((signedIn: boolean) => void) | null
}

export class App extends Component<{ session: Session }, State> {
  override state: State = { beat: 0, question: null, toast: null, lost: false, signIn: null }

  readonly #pulse = new Pulse(() => this.setState(({ beat }) => ({ beat: beat + 1 })))
  readonly #history = new History({
    changed: () => this.#pulse.beat(),
    unauthenticated: (since) => void this.#askToSignIn(since),
  })
  readonly #again = createRef<HTMLInputElement>()
  readonly #endings: (() => void)[] = []
  #uploader: Uploader | null = null
  #begun: (uploader: Uploader) => void = () => undefined
  readonly #beginning = new Promise<Uploader>((resolve) => {
    this.#begun = resolve
  })
  /** Uploads that this tab sends, as last drawn. */
  #own: ReadonlySet<string> = new Set()
  #signingIn: Promise<boolean> | null = null
  #reselecting: PageFile | null = null
  #lostTimer: ReturnType<typeof setTimeout> | undefined
  #toastTimer: ReturnType<typeof setTimeout> | undefined

  override async componentDidMount(): Promise<void> {
    const { user } = this.props.session
    const events = new MyEvents({ onOpen: () => this.#found(), onLost: () => this.#lose() })
    events.onEvery((event) => {
      if (event.event === 'done' || !this.#own.has(idOf(event))) this.#history.take(event)
    })
    const countdown = setInterval(() => {
      if (this.#uploader?.files.some((file) => phaseOf(file) === 'waiting')) this.#pulse.beat()
    }, REDRAW_MS * 2)
    addEventListener('online', this.#redraw)
    addEventListener('offline', this.#redraw)
    addEventListener('beforeunload', this.#stay)
    this.#endings.push(
      () => events.close(),
      () => clearInterval(countdown),
      onThemeChange(this.#redraw),
    )
    const tab = await takeTab(user)
    this.#uploader = new Uploader(`forebay-${user}-${tab}`, events, {
      changed: () => this.#pulse.beat(),
      completed: (file) => announce(`${file.name} is uploaded.`),
      failed: (file) => announce(`${file.name} failed: ${file.forebay?.error?.detail ?? file.error ?? ''}`),
      restored: (files, ghosts) => this.#restored(files, ghosts),
      onUnauthenticated: (since) => this.#askToSignIn(since),
    })
    this.#begun(this.#uploader)
    this.#pulse.beat()
  }

  override componentWillUnmount(): void {
    removeEventListener('online', this.#redraw)
    removeEventListener('offline', this.#redraw)
    removeEventListener('beforeunload', this.#stay)
    for (const end of this.#endings) end()
  }

  #redraw = (): void => this.#pulse.beat()

  /** A tab that is closed stops what it sends: the browser asks first. */
  #stay = (event: BeforeUnloadEvent): void => {
    if (this.#uploader?.files.some((file) => isSending(phaseOf(file)))) event.preventDefault()
  }

  #found(): void {
    clearTimeout(this.#lostTimer)
    this.#lostTimer = undefined
    if (this.state.lost) announce('The server answers again.')
    this.setState({ lost: false })
    void this.#history.refresh()
  }

  #lose(): void {
    void this.#history.refresh() // a stream does not say why it ended; this does where a sign-in is wanted
    this.#lostTimer ??= setTimeout(() => {
      this.setState({ lost: true })
      announce("The server can't be reached. Uploads go on by themselves when it is back.")
    }, LOST_MS)
  }

  #restored(files: number, ghosts: number): void {
    announce(
      ghosts === 0
        ? `${count(files, 'upload goes', 'uploads go')} on.`
        : `${count(ghosts, 'file has', 'files have')} to be selected again to go on.`,
    )
  }

  #say(toast: string): void {
    announce(toast)
    clearTimeout(this.#toastTimer)
    this.setState({ toast })
    this.#toastTimer = setTimeout(() => this.setState({ toast: null }), TOAST_MS)
  }

  #pick = async (picking: Promise<Picked[]>): Promise<void> => {
    let picked: Picked[]
    try {
      picked = await picking
    } catch (error) {
      this.#say(error instanceof RangeError ? error.message : "These files can't be read.")
      return
    }
    if (picked.length === 0) {
      this.#say('There are no files in it.')
      return
    }
    const under = (await this.#beginning).add(picked)
    const added = picked.length - under.length
    if (under.length > 0) this.#say(`${count(under.length, 'file is', 'files are')} being uploaded already.`)
    if (added > 0) {
      announce(
        added === 1 ? `Uploading ${picked[0]?.file.name}.` : `Uploading ${count(added, 'file', 'files')}.`,
      )
    }
  }

  readonly #actions: RowActions = {
    pause: (file) => this.#uploader?.pause(file.id),
    resume: (file) => this.#uploader?.resume(file.id),
    retry: (file) => (file.isGhost ? void this.#reselect(file) : this.#uploader?.retry(file.id)),
    cancel: (file) => this.#cancel(file),
    remove: (file) => this.#remove(file),
    reselect: (file) => void this.#reselect(file),
  }

  #remove(file: PageFile): void {
    this.#uploader?.remove(file.id)
    this.#focusList()
  }

  #cancel(file: PageFile): void {
    const cancel = (): void => {
      this.#remove(file)
      announce(`${file.name} was cancelled.`)
    }
    const received = file.forebay?.received ?? 0
    if (received < MUCH_BYTES || !isUnfinished(phaseOf(file))) {
      cancel()
      return
    }
    this.setState({
      question: {
        title: 'Cancel this upload?',
        text: `${bytes(received)} of ${file.name} are at the server already. They are removed there.`,
        action: 'Cancel the upload',
        onYes: cancel,
      },
    })
  }

  #cancelAll = (): void => {
    const unfinished = this.#uploader?.files.filter((file) => isUnfinished(phaseOf(file))).length ?? 0
    this.setState({
      question: {
        title: 'Cancel all uploads?',
        text: `${count(unfinished, 'file', 'files')} did not arrive yet. What the server has of them is removed.`,
        action: 'Cancel all',
        onYes: () => {
          this.#uploader?.cancelAll()
          announce('All uploads were cancelled.')
        },
      },
    })
  }

  /** Where a row was with the button that had the focus, the list's title has it. */
  #focusList(): void {
    requestAnimationFrame(() => document.getElementById('queue-title')?.focus())
  }

  #reselectAll = async (): Promise<void> => {
    const uploader = this.#uploader
    if (uploader === null) return
    let missing = false
    for (const file of uploader.files) {
      if (phaseOf(file) === 'ghost' && !(await uploader.reopen(file.id))) missing = true
    }
    if (missing) document.getElementById('pick-files')?.click()
  }

  async #reselect(file: PageFile): Promise<void> {
    if (await this.#uploader?.reopen(file.id)) return
    this.#reselecting = file
    this.#again.current?.click()
  }

  #reselected = async (picking: Promise<Picked[]>): Promise<void> => {
    const file = this.#reselecting
    const [picked] = await picking
    if (file === null || picked === undefined) return
    if (this.#uploader?.reselect(file.id, picked.file)) announce(`${file.name} goes on.`)
    else this.#say('That is another file: its name, its size or the time of its last change differs.')
  }

  #cancelElsewhere = (upload: ServerUpload): void => {
    this.setState({
      question: {
        title: 'Cancel this upload?',
        text: `${upload.filename} may be on its way from another window. What the server has of it is removed.`,
        action: 'Cancel the upload',
        onYes: async () => {
          const problem = await this.#history.cancel(upload.id)
          this.#say(problem ?? `${upload.filename} was cancelled.`)
        },
      },
    })
  }

  /**
   * Settles when somebody has signed in. At once for what was sent before that, and is refused late: behind a slow
   * line requests wait for a connection with the former cookie.
   */
  #askToSignIn(since: number): Promise<boolean> {
    if (hasSignedInSince(since)) return Promise.resolve(true)
    this.#signingIn ??= new Promise((resolve) => this.setState({ signIn: resolve }))
    return this.#signingIn
  }

  #signedIn = (): void => {
    this.state.signIn?.(true)
    this.#signingIn = null
    this.setState({ signIn: null })
    void this.#history.refresh()
  }

  override render(): JSX.Element {
    const { session } = this.props
    const { question, signIn } = this.state
    const now = Date.now()
    const files = this.#uploader?.files ?? []
    const rows = files.map((file) => ({ file, view: rowOf(file, now) }))
    const total = totalOf(files)
    this.#own = this.#uploader?.uploadIds ?? new Set()
    document.title = titleOf(total.unfinished, total.received, total.size)
    return (
      <div class="page">
        <PageHead session={session}>
          {session.operator && (
            <a class="button quiet small" href="/ops">
              <Icon name="pulse" />
              Operations
            </a>
          )}
        </PageHead>
        <main>
          <h1 class="visually-hidden">Upload files</h1>
          {signIn !== null ? (
            <SignIn why="Your sign-in has ended. The uploads go on after it." onSignedIn={this.#signedIn} />
          ) : (
            <DropZone compact={files.length > 0} onPicked={this.#pick} />
          )}
          {files.length > 0 && (
            <Queue
              rows={rows}
              total={total}
              actions={this.#actions}
              onPauseAll={() => this.#uploader?.pauseAll()}
              onResumeAll={() => this.#uploader?.resumeAll()}
              onRetryAll={() => this.#uploader?.retryAll()}
              onCancelAll={this.#cancelAll}
              onClear={() => this.#uploader?.clear()}
              onReselectAll={this.#reselectAll}
            />
          )}
          <MyUploads history={this.#history} hidden={this.#own} onCancel={this.#cancelElsewhere} />
          {this.#toast()}
        </main>
        <PickInput id="pick-again" input={this.#again} onPicked={this.#reselected} />
        {question !== null && (
          <Confirm question={question} onClose={() => this.setState({ question: null })} />
        )}
      </div>
    )
  }

  #toast(): JSX.Element | null {
    const { toast, lost } = this.state
    const text = !navigator.onLine
      ? 'No connection. Uploads go on by themselves when it is back.'
      : lost
        ? "The server can't be reached. Uploads go on by themselves when it is back."
        : toast
    if (text === null) return null
    const tone = text === toast ? '' : 'warn'
    return (
      <div class={`toast notice ${tone}`}>
        <Icon name={tone === '' ? 'alert' : 'offline'} />
        <p>{text}</p>
      </div>
    )
  }
}

function titleOf(unfinished: number, received: number, size: number): string {
  if (unfinished === 0 || size === 0) return 'Forebay'
  return `${Math.min(99, Math.floor((100 * received) / size))}% · Forebay`
}
