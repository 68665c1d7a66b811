/** My uploads as the server has them: from here, from elsewhere, from before. */

import type { ServerUpload } from '@forebay/client'
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { API } from '../shared/api.ts'
import { bytes, bytesOf, moment } from '../shared/format.ts'
import { Icon, iconOf } from '../shared/icons.tsx'
import { Bar } from './bar.tsx'
import { Checksum } from './checksum.tsx'
import { sha256Of } from './digest.ts'
import { type History, hasEnded } from './history.ts'

export interface MyUploadsProps {
  history: History
  /** Those that this tab sends are shown above. */
  hidden: ReadonlySet<string>
  onCancel(upload: ServerUpload): void
}

export function MyUploads({ history, hidden, onCancel }: MyUploadsProps): JSX.Element {
  const [loading, setLoading] = useState(false)
  const uploads = history.uploads.filter((upload) => !hidden.has(upload.id))
  const more = async (): Promise<void> => {
    setLoading(true)
    await history.more()
    setLoading(false)
  }
  return (
    <section class="card my-uploads" aria-labelledby="my-uploads-title" aria-busy={history.loading}>
      <header class="card-head">
        <div class="card-words">
          <h2 id="my-uploads-title">My uploads</h2>
        </div>
      </header>
      {history.problem !== null && (
        <div class="notice bad in-card" role="alert">
          <Icon name="alert" />
          <p>{history.problem}</p>
        </div>
      )}
      {uploads.length === 0 && history.problem === null && (
        <p class="empty dim">
          {history.loading
            ? 'Loading…'
            : 'Nothing here yet. What you upload is listed here, with its checksum.'}
        </p>
      )}
      <ul class="rows">
        {uploads.map((upload) => (
          <Entry key={upload.id} upload={upload} onCancel={onCancel} />
        ))}
      </ul>
      {history.hasMore && (
        <button type="button" class="button quiet more" onClick={more} aria-disabled={loading}>
          {loading ? 'Loading…' : 'Show older ones'}
        </button>
      )}
    </section>
  )
}

const STATES: Record<ServerUpload['state'], { word: string; tone: string }> = {
  created: { word: 'Begun', tone: '' },
  receiving: { word: 'Receiving', tone: 'accent' },
  transferring: { word: 'To the destination', tone: 'accent' },
  completed: { word: 'Stored', tone: 'good' },
  failed: { word: 'Failed', tone: 'bad' },
  cancelled: { word: 'Cancelled', tone: '' },
  expired: { word: 'Expired', tone: '' },
}

function Entry({
  upload,
  onCancel,
}: {
  upload: ServerUpload
  onCancel(upload: ServerUpload): void
}): JSX.Element {
  const state = STATES[upload.state]
  const name = upload.result?.name ?? upload.filename
  const sha256 = sha256Of(upload.result?.digest)
  const at = new Date(upload.created_at)
  const ended = hasEnded(upload)
  return (
    <li class={`entry ${upload.state}`} data-state={upload.state}>
      <div class="row-icon">
        <Icon name={iconOf(upload.media_type)} />
      </div>
      <div class="row-name">
        <span class="name" title={name}>
          {name}
        </span>
        {upload.path !== '' && <span class="folder dim">{upload.path}</span>}
      </div>
      <p class="entry-facts dim number">
        <span class={`badge ${state.tone}`}>{state.word}</span>
        <span>{upload.size === null ? 'size not known' : bytes(upload.size)}</span>
        <time dateTime={upload.created_at} title={at.toLocaleString()}>
          {moment(at)}
        </time>
      </p>
      {!ended && (
        <div class="entry-progress">
          <Bar
            received={share(upload.bytes_received, upload.size)}
            stored={share(upload.bytes_transferred, upload.size)}
            label={name}
            spoken={`${bytesOf(upload.bytes_received, upload.size)} received`}
          />
          <span class="dim number">{bytesOf(upload.bytes_received, upload.size)}</span>
        </div>
      )}
      {upload.error !== null && (
        <p class={`entry-problem ${ended ? 'bad' : 'warn'}`}>{upload.error.detail}</p>
      )}
      {sha256 !== null && (
        <div class="entry-checksum">
          <Checksum sha256={sha256} of={name} />
        </div>
      )}
      <div class="row-actions">
        {upload.result !== null && (
          <a
            class="icon-button"
            href={`${API}/files/${upload.id}/content`}
            download={name}
            aria-label={`Download ${name}`}
            title="Download"
          >
            <Icon name="download" />
          </a>
        )}
        {!ended && (
          <button
            type="button"
            class="icon-button danger"
            aria-label={`Cancel: ${name}`}
            title="Cancel"
            onClick={() => onCancel(upload)}
          >
            <Icon name="close" />
          </button>
        )}
      </div>
    </li>
  )
}

function share(part: number, whole: number | null): number {
  return whole ? Math.min(1, part / whole) : 0
}
