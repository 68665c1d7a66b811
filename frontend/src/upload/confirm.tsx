/** A question before something is lost. */

import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'

export interface Question {
  title: string
  text: string
  /** What the button says that does it. */
  action: string
  onYes(): void
}

export function Confirm({ question, onClose }: { question: Question; onClose(): void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  const yes = (): void => {
    dialog.current?.close()
    question.onYes()
  }
  return (
    <dialog
      ref={dialog}
      class="confirm card"
      aria-labelledby="confirm-title"
      aria-describedby="confirm-text"
      onClose={onClose}
    >
      <h2 id="confirm-title">{question.title}</h2>
      <p id="confirm-text" class="dim">
        {question.text}
      </p>
      <div class="confirm-buttons">
        <button type="button" class="button" onClick={() => dialog.current?.close()}>
          Keep uploading
        </button>
        <button type="button" class="button danger" onClick={yes}>
          {question.action}
        </button>
      </div>
    </dialog>
  )
}
