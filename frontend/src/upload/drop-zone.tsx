/** Where files come in: dropped anywhere on the page, pasted, or chosen. */

import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Icon } from '../shared/icons.tsx'
import { fromHandles, fromInput, fromTransfer, type Picked } from './picked.ts'

/** Pickers that give handles, where the browser has them: their files are found again after a refresh. */
interface Pickers {
  showOpenFilePicker?: (options: { multiple: boolean }) => Promise<FileSystemHandle[]>
  showDirectoryPicker?: () => Promise<FileSystemHandle>
}

export interface DropZoneProps {
  /** Small, since there are files in the list below. */
  compact: boolean
  onPicked(picked: Promise<Picked[]>): void
}

export function DropZone({ compact, onPicked }: DropZoneProps): JSX.Element {
  const files = useRef<HTMLInputElement>(null)
  const folder = useRef<HTMLInputElement>(null)
  const over = useDrops(onPicked)

  const chooseFiles = (): void => {
    const { showOpenFilePicker } = window as Pickers
    if (showOpenFilePicker === undefined) files.current?.click()
    else choose(showOpenFilePicker.call(window, { multiple: true }), files.current, onPicked)
  }
  const chooseFolder = (): void => {
    const { showDirectoryPicker } = window as Pickers
    if (showDirectoryPicker === undefined) folder.current?.click()
    else choose(showDirectoryPicker.call(window), folder.current, onPicked)
  }

  return (
    <section class={`card drop-zone ${compact ? 'compact' : ''}`} aria-label="Add files">
      <div class="drop-mark">
        <Icon name="upload" />
      </div>
      <div class="drop-words">
        <p class="drop-title">
          <span class="with-mouse">{compact ? 'Drop more anywhere' : 'Drop files or folders here'}</span>
          <span class="with-finger">{compact ? 'Add more' : 'Choose what to upload'}</span>
        </p>
        {!compact && (
          <p class="dim">Of any size. When the connection breaks, an upload goes on where it was.</p>
        )}
      </div>
      <div class="drop-buttons">
        <button type="button" class={`button ${compact ? '' : 'primary'}`} onClick={chooseFiles}>
          <Icon name="file" />
          Choose files
        </button>
        <button type="button" class="button" onClick={chooseFolder}>
          <Icon name="folder" />
          Choose a folder
        </button>
      </div>
      <PickInput id="pick-files" input={files} multiple onPicked={onPicked} />
      <PickInput id="pick-folder" input={folder} folder onPicked={onPicked} />
      {over && (
        <div class="drop-overlay">
          <div>
            <Icon name="upload" />
            <p>Drop to upload</p>
          </div>
        </div>
      )}
    </section>
  )
}

/** A picker of the browser's that nobody sees; its owner clicks it. */
export function PickInput(props: {
  id: string
  input: { current: HTMLInputElement | null }
  multiple?: boolean
  folder?: boolean
  onPicked(picked: Promise<Picked[]>): void
}): JSX.Element {
  const folder = props.folder === true ? { webkitdirectory: true } : {} // not in the typings
  const changed = (event: JSX.TargetedEvent<HTMLInputElement>): void => {
    const chosen = fromInput(event.currentTarget.files ?? [])
    event.currentTarget.value = '' // so that choosing the same again is a change, too
    if (chosen.length > 0) props.onPicked(Promise.resolve(chosen))
  }
  return (
    <input
      id={props.id}
      ref={props.input}
      type="file"
      hidden
      multiple={props.multiple === true || props.folder === true}
      {...folder}
      onChange={changed}
    />
  )
}

async function choose(
  picking: Promise<FileSystemHandle[] | FileSystemHandle>,
  otherwise: HTMLInputElement | null,
  onPicked: DropZoneProps['onPicked'],
): Promise<void> {
  try {
    const handles = await picking
    onPicked(fromHandles(Array.isArray(handles) ? handles : [handles]))
  } catch (error) {
    const left = error instanceof DOMException && error.name === 'AbortError' // nothing was chosen
    if (!left) otherwise?.click()
  }
}

/** Files dropped or pasted anywhere; returns whether some are held over the page. */
function useDrops(onPicked: DropZoneProps['onPicked']): boolean {
  const [over, setOver] = useState(false)
  const latest = useRef(onPicked)
  latest.current = onPicked

  useEffect(() => {
    let depth = 0 // elements entered and not left: the page is left when all are
    const enter = (event: DragEvent): void => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      depth += 1
      setOver(true)
    }
    const leave = (event: DragEvent): void => {
      if (!carriesFiles(event)) return
      depth = Math.max(0, depth - 1)
      if (depth === 0) setOver(false)
    }
    const hover = (event: DragEvent): void => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy'
    }
    const drop = (event: DragEvent): void => {
      depth = 0
      setOver(false)
      if (!carriesFiles(event) || event.dataTransfer === null) return
      event.preventDefault()
      latest.current(fromTransfer(event.dataTransfer))
    }
    const paste = (event: ClipboardEvent): void => {
      if (event.clipboardData === null || event.clipboardData.files.length === 0) return
      event.preventDefault()
      latest.current(fromTransfer(event.clipboardData))
    }
    addEventListener('dragenter', enter)
    addEventListener('dragleave', leave)
    addEventListener('dragover', hover)
    addEventListener('drop', drop)
    addEventListener('paste', paste)
    return () => {
      removeEventListener('dragenter', enter)
      removeEventListener('dragleave', leave)
      removeEventListener('dragover', hover)
      removeEventListener('drop', drop)
      removeEventListener('paste', paste)
    }
  }, [])
  return over
}

function carriesFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes('Files') === true
}
