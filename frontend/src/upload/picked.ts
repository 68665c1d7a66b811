/** What somebody chose or dropped, as files with their place in the folder that they came in. */

/** A file to upload. */
export interface Picked {
  file: File
  /** Folder relative to what was chosen, "/"-separated, "" for none. */
  folder: string
  /** How the browser finds the file again after a refresh; null where it can't. */
  handle: FileSystemFileHandle | null
}

const MOST = 20_000 // a folder beyond is somebody's whole disk, by mistake

/** Files of an `<input type="file">`, with `webkitdirectory` or without. */
export function fromInput(files: Iterable<File>): Picked[] {
  return Array.from(files, (file) => ({ file, folder: folderOf(file.webkitRelativePath), handle: null }))
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

/**
 * Files and folders of a drop or a paste. To be called in the event itself: what it carries is gone afterwards.
 *
 * Rejects with a `RangeError` when there are too many.
 */
export function fromTransfer(transfer: DataTransfer): Promise<Picked[]> {
  const items = Array.from(transfer.items).filter((item) => item.kind === 'file')
  return collect(items.map((item) => openItem(item)))
}

/** Files and folders that a picker gave handles of. */
export function fromHandles(handles: FileSystemHandle[]): Promise<Picked[]> {
  return collect(handles.map((handle) => (into) => walkHandle(handle, '', into)))
}

type Walk = (into: Picked[]) => Promise<void>

async function collect(walks: Walk[]): Promise<Picked[]> {
  const found: Picked[] = []
  for (const walk of walks) await walk(found)
  return found
}

function put(into: Picked[], picked: Picked): void {
  if (into.length >= MOST) throw new RangeError(`That is more than ${MOST.toLocaleString()} files at once.`)
  into.push(picked)
}

/** What the typings of the DOM don't have yet. */
interface GivesHandles {
  getAsFileSystemHandle?: () => Promise<FileSystemHandle | null>
}

function openItem(item: DataTransferItem & GivesHandles): Walk {
  const file = item.getAsFile()
  const entry = item.webkitGetAsEntry()
  const handle = item.getAsFileSystemHandle?.().catch(() => null) ?? Promise.resolve(null)
  return async (into) => {
    const found = await handle
    if (found !== null) await walkHandle(found, '', into)
    else if (entry !== null) await walkEntry(entry, '', into)
    else if (file !== null) put(into, { file, folder: '', handle: null })
  }
}

async function walkHandle(handle: FileSystemHandle, folder: string, into: Picked[]): Promise<void> {
  if (handle.kind === 'file') {
    const file = handle as FileSystemFileHandle
    put(into, { file: await file.getFile(), folder, handle: file })
    return
  }
  for await (const inner of (handle as FileSystemDirectoryHandle).values()) {
    await walkHandle(inner, join(folder, handle.name), into)
  }
}

async function walkEntry(entry: FileSystemEntry, folder: string, into: Picked[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    )
    put(into, { file, folder, handle: null })
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    const inner = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    )
    if (inner.length === 0) return // it gives at most a hundred at a time
    for (const each of inner) await walkEntry(each, join(folder, entry.name), into)
  }
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`
}
