/** The files of this tab, and what can be done with all of them. */

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { bytes, bytesOf, count, duration, rate } from '../shared/format.ts'
import { Icon } from '../shared/icons.tsx'
import { Row, type RowActions } from './row.tsx'
import { headline, type PageFile, type RowView, type Total } from './view.ts'

export interface QueueProps {
  rows: readonly { file: PageFile; view: RowView }[]
  total: Total
  actions: RowActions
  onPauseAll(): void
  onResumeAll(): void
  onRetryAll(): void
  onCancelAll(): void
  onClear(): void
  onReselectAll(): void
}

const SHOWN = 100

export function Queue(props: QueueProps): JSX.Element {
  const { rows, total, actions } = props
  const [shown, setShown] = useState(SHOWN)
  const resumable = total.sending === 0 && total.paused > 0
  return (
    <section class="card queue" aria-labelledby="queue-title">
      <header class="card-head">
        <div class="card-words">
          <h2 id="queue-title" tabIndex={-1}>
            {headline(total)}
          </h2>
          <p class="dim number">{total.unfinished > 0 ? overall(total) : `${bytes(total.size)} in all`}</p>
        </div>
        <div class="card-buttons">
          {total.repeatable > 0 && (
            <button type="button" class="button small" onClick={props.onRetryAll}>
              <Icon name="retry" />
              Retry failed
            </button>
          )}
          {(total.sending > 0 || resumable) && (
            <button
              type="button"
              class="button small"
              onClick={resumable ? props.onResumeAll : props.onPauseAll}
            >
              <Icon name={resumable ? 'play' : 'pause'} />
              {resumable ? 'Resume all' : 'Pause all'}
            </button>
          )}
          {total.completed > 0 && (
            <button type="button" class="button small" onClick={props.onClear}>
              Clear finished
            </button>
          )}
          {total.unfinished > 0 && (
            <button type="button" class="button small" onClick={props.onCancelAll}>
              <Icon name="close" />
              Cancel all
            </button>
          )}
        </div>
      </header>
      {total.ghosts > 1 && (
        <div class="notice warn in-card">
          <Icon name="alert" />
          <p>After a refresh the browser has let go of {count(total.ghosts, 'file', 'files')}.</p>
          <button type="button" class="button small" onClick={props.onReselectAll}>
            Select them again
          </button>
        </div>
      )}
      <ul class="rows">
        {rows.slice(0, shown).map(({ file, view }) => (
          <Row key={file.id} file={file} view={view} actions={actions} />
        ))}
      </ul>
      {rows.length > shown && (
        <button type="button" class="button quiet more" onClick={() => setShown(shown + SHOWN)}>
          Show more of {count(rows.length, 'file', 'files')}
        </button>
      )}
      <p class="legend dim">
        <span>
          <span class="swatch received" /> received by the server
        </span>
        <span>
          <span class="swatch stored" /> at the destination
        </span>
        <span>
          <span class="swatch flight" /> chunk on the way
        </span>
      </p>
    </section>
  )
}

function overall(total: Total): string {
  const parts = [bytesOf(total.received, total.size)]
  if (total.rate > 0) parts.push(rate(total.rate))
  if (total.secondsLeft !== null && total.rate > 0) parts.push(`${duration(total.secondsLeft)} left`)
  return parts.join(' · ')
}
