/**
 * Where files are on this computer, kept over a refresh by browsers that can (File System Access): then nobody has to
 * select them again. Everything here is best effort; without it a file is selected again.
 */

const DATABASE = 'forebay-handles'
const STORE = 'handles'

/** What a handle says that the typings of the DOM don't have yet. */
interface Permitting {
  queryPermission(descriptor: { mode: 'read' }): Promise<PermissionState>
  requestPermission(descriptor: { mode: 'read' }): Promise<PermissionState>
}

let opened: Promise<IDBDatabase> | undefined

function database(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1)
    request.onupgradeneeded = () => request.result.createObjectStore(STORE)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return opened
}

async function run<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T | undefined> {
  try {
    const transaction = (await database()).transaction(STORE, mode)
    const request = work(transaction.objectStore(STORE))
    return await new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result)
      transaction.onerror = () => reject(transaction.error)
      transaction.onabort = () => reject(transaction.error)
    })
  } catch {
    return undefined // no storage here, or it is full
  }
}

export async function keepHandle(key: string, handle: FileSystemFileHandle): Promise<void> {
  await run('readwrite', (store) => store.put(handle, key))
}

export async function forgetHandle(key: string): Promise<void> {
  await run('readwrite', (store) => store.delete(key))
}

/** Keys of all handles that begin with `prefix`. */
export async function keptHandles(prefix: string): Promise<string[]> {
  const keys = (await run('readonly', (store) => store.getAllKeys())) ?? []
  return keys.map(String).filter((key) => key.startsWith(prefix))
}

/**
 * The file behind a handle, or null when there is none or it may not be read.
 *
 * Without `ask` only what is permitted already counts; with it the browser may ask, which it does in answer to a click
 * only.
 */
export async function reopen(key: string, options: { ask: boolean }): Promise<File | null> {
  const handle = await run<FileSystemFileHandle | undefined>('readonly', (store) => store.get(key))
  if (handle === undefined) return null
  try {
    const permitting = handle as unknown as Permitting
    const mode = { mode: 'read' } as const
    let permission = await permitting.queryPermission(mode)
    if (permission === 'prompt' && options.ask) permission = await permitting.requestPermission(mode)
    return permission === 'granted' ? await handle.getFile() : null
  } catch {
    return null // moved, deleted, or on a disk that is not there
  }
}
