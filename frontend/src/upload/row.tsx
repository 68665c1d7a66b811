/** A file of this tab: both phases, its chunks, and what can be done with it. */

import { Component, type JSX } from 'preact'
import { count } from '../shared/format.ts'
import { Icon, type IconName, iconOf } from '../shared/icons.tsx'
import { Bar } from './bar.tsx'
import { Checksum } from './checksum.tsx'
import { ChunkMap } from './chunk-map.tsx'
import type { PageFile, Phase, RowView } from './view.ts'

export interface RowActions {
  pause(file: PageFile): void
  resume(file: PageFile): void
  retry(file: PageFile): void
  cancel(file: PageFile): void
  remove(file: PageFile): void
  reselect(file: PageFile): void
}

export interface RowProps {
  file: PageFile
  view: RowView
  actions: RowActions
}

const TONES: Partial<Record<Phase, string>> = {
  waiting: 'warn',
  queued: 'warn',
  offline: 'warn',
  ghost: 'warn',
  failed: 'bad',
}

export class Row extends Component<RowProps> {
  /** Of hundreds of files a few move; the others' rows are left alone. */
  override shouldComponentUpdate({ file, view }: RowProps): boolean {
    const before = this.props
    return (
      before.file.id !== file.id ||
      before.file.forebay?.chunks !== file.forebay?.chunks ||
      before.file.forebay?.result !== file.forebay?.result ||
      before.file.forebay?.retries !== file.forebay?.retries ||
      (Object.keys(view) as (keyof RowView)[]).some((key) => before.view[key] !== view[key])
    )
  }

  override render({ file, view, actions }: RowProps): JSX.Element {
    const result = file.forebay?.result ?? null
    const tone = TONES[view.phase] ?? ''
    const renamed = result !== null && result.name !== file.name
    return (
      <li class={`row ${view.phase}`} data-phase={view.phase}>
        <div class={`row-icon ${tone}`}>
          <Icon name={STATE_ICONS[view.phase] ?? iconOf(file.type)} />
        </div>
        <div class="row-name" id={`name-${file.id}`}>
          <span class="name" title={file.name}>
            {file.name}
          </span>
          {file.folder !== '' && <span class="folder dim">{file.folder}</span>}
        </div>
        <div class="row-middle">
          {view.phase === 'completed' ? (
            <>
              {renamed && <span class="dim stored-as">Stored as {result.name}</span>}
              {result?.sha256 && <Checksum sha256={result.sha256} of={file.name} />}
            </>
          ) : (
            <>
              <Bar received={view.received} stored={view.stored} spoken={view.spoken} label={file.name} />
              <ChunkMap chunks={file.forebay?.chunks ?? null} moving={view.phase === 'uploading'} />
            </>
          )}
        </div>
        <p class={`row-sentence number ${tone}`} title={tone === '' ? undefined : view.sentence}>
          <span class={view.phase === 'uploading' ? 'figure' : ''}>{view.sentence}</span>
          {(file.forebay?.retries ?? 0) > 0 && view.phase === 'uploading' && (
            <span class="dim">{count(file.forebay?.retries ?? 0, 'retry', 'retries')}</span>
          )}
        </p>
        <p class="row-rate number dim">{view.rate}</p>
        <p class="row-left number dim">{view.left}</p>
        <div class="row-actions">{buttons(file, view.phase, actions)}</div>
      </li>
    )
  }
}

const STATE_ICONS: Partial<Record<Phase, IconName>> = {
  completed: 'check',
  failed: 'alert',
  waiting: 'clock',
  queued: 'clock',
  offline: 'offline',
}

function buttons(file: PageFile, phase: Phase, actions: RowActions): JSX.Element {
  const result = file.forebay?.result ?? null
  if (phase === 'completed') {
    return (
      <>
        {result !== null && (
          <a
            class="icon-button"
            href={result.url}
            download={result.name}
            aria-label={`Download ${file.name}`}
            title="Download"
          >
            <Icon name="download" />
          </a>
        )}
        <RowButton icon="close" label="Remove from this list" of={file} onClick={actions.remove} />
      </>
    )
  }
  const first = FIRST[phase]
  return (
    <>
      {phase === 'ghost' && (
        <button
          type="button"
          class="button small"
          aria-label={`Select again: ${file.name}`}
          onClick={() => actions.reselect(file)}
        >
          Select again
        </button>
      )}
      {first && <RowButton icon={first.icon} label={first.label} of={file} onClick={actions[first.does]} />}
      <RowButton icon="close" label="Cancel" of={file} onClick={actions.cancel} />
    </>
  )
}

interface First {
  icon: IconName
  label: string
  does: keyof RowActions
}

const PAUSE: First = { icon: 'pause', label: 'Pause', does: 'pause' }

/** The first button; always the same element, so that whoever has pressed it keeps the focus. */
const FIRST: Partial<Record<Phase, First>> = {
  here: PAUSE,
  creating: PAUSE,
  queued: PAUSE,
  uploading: PAUSE,
  waiting: PAUSE,
  offline: PAUSE,
  paused: { icon: 'play', label: 'Go on', does: 'resume' },
  failed: { icon: 'retry', label: 'Try again', does: 'retry' },
}

interface RowButtonProps {
  icon: IconName
  label: string
  of: PageFile
  onClick(file: PageFile): void
}

function RowButton({ icon, label, of, onClick }: RowButtonProps): JSX.Element {
  return (
    <button
      type="button"
      class={`icon-button ${label === 'Cancel' ? 'danger' : ''}`}
      aria-label={`${label}: ${of.name}`}
      title={label}
      onClick={() => onClick(of)}
    >
      <Icon name={icon} />
    </button>
  )
}
