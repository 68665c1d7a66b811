/**
 * The files of this tab: Uppy keeps them, `@forebay/uppy` sends them, golden-retriever brings them back after a refresh.
 *
 * Laws: nobody but this module calls Uppy. A file that came back without its bytes is a ghost; it goes on when the
 * browser opens it again, or somebody selects it again: one of the same name, size and time of last change.
 */

import { type UploadEvents, workerDigester } from '@forebay/client'
import DigestWorker from '@forebay/client/worker?worker'
import { type ForebayFileState, ForebayUpload } from '@forebay/uppy'
import Uppy, { type Body, type Meta, type MinimalRequiredUppyFile, type UppyFile } from '@uppy/core'
import GoldenRetriever from '@uppy/golden-retriever'
import { API } from '../shared/api.ts'
import { Finished } from './finished.ts'
import { forgetHandle, keepHandle, keptHandles, reopen } from './handles.ts'
import type { Picked } from './picked.ts'
import { isUnfinished, type PageFile, phaseOf } from './view.ts'

interface PageMeta extends Meta {
  /** Relative folder at the destination. */
  path: string
  lastModified: number
}

type StoredFile = UppyFile<PageMeta, Body> & { forebay?: ForebayFileState }

const KEPT_MS = 7 * 24 * 3600 * 1000 // the server keeps what it has received for a week
const RESTORING_MS = 5000 // it says nothing when there was nothing to restore

export interface UploaderHooks {
  /** Something that is shown has changed. */
  changed(): void
  completed(file: PageFile): void
  failed(file: PageFile): void
  /** Uploads came back after a refresh; so many of them wait for their file. */
  restored(files: number, ghosts: number): void
  /** The server refused what was sent at `since` and wants a sign-in; `true` once there was a later one. */
  onUnauthenticated(since: number): Promise<boolean>
}

export class Uploader {
  readonly #uppy: Uppy<PageMeta, Body>
  readonly #hooks: UploaderHooks
  readonly #handlePrefix: string
  readonly #finished: Finished
  readonly #begun = new Set<string>() // in this life of the page: what came back has not
  #early: Picked[] | null = [] // added before golden-retriever has put its files in place of all

  /** `name` tells apart what is kept for a refresh: of which user and tab. */
  constructor(name: string, events: UploadEvents, hooks: UploaderHooks) {
    this.#hooks = hooks
    this.#handlePrefix = `${name}/`
    this.#finished = new Finished(name)
    const silent = (): void => undefined // what goes wrong is on the page, in words
    this.#uppy = new Uppy<PageMeta, Body>({
      id: name,
      autoProceed: false,
      logger: { debug: silent, warn: silent, error: silent },
    })
    this.#uppy.use(ForebayUpload, {
      endpoint: API,
      events,
      digester: workerDigester(() => new DigestWorker()),
      onUnauthenticated: (since) => hooks.onUnauthenticated(since),
    })
    this.#uppy.on('restored', () => this.#restored())
    this.#uppy.on('state-update', () => hooks.changed())
    this.#uppy.on('upload-success', (file) => {
      if (file === undefined) return
      this.#finished.add(file.id)
      void forgetHandle(this.#handlePrefix + file.id)
      hooks.completed(this.#page(this.#uppy.getFile(file.id)))
    })
    this.#uppy.on('upload-error', (file) => {
      if (file !== undefined && this.#uppy.getFile(file.id))
        hooks.failed(this.#page(this.#uppy.getFile(file.id)))
    })
    this.#uppy.use(GoldenRetriever, { expires: KEPT_MS }) // it keeps the bytes of files up to 10 MiB, too
    setTimeout(() => {
      this.#early = null
    }, RESTORING_MS)
  }

  get files(): PageFile[] {
    return this.#uppy.getFiles().map((file) => this.#page(file))
  }

  #page(file: StoredFile): PageFile {
    return {
      id: file.id,
      name: file.name ?? 'file',
      size: file.size ?? 0,
      type: file.type,
      folder: file.meta.path,
      isGhost: file.isGhost === true,
      isPaused: isPaused(file),
      error: file.error ?? null,
      forebay: file.forebay ?? null,
    }
  }

  /** Ids of uploads that this tab takes care of. */
  get uploadIds(): Set<string> {
    const ids = new Set<string>()
    for (const file of this.files) {
      if (isUnfinished(phaseOf(file)) && file.forebay?.uploadId) ids.add(file.forebay.uploadId)
    }
    return ids
  }

  /** Take files in, and send them; returns the names of those that are under way already. */
  add(picked: Picked[]): string[] {
    this.#early?.push(...picked)
    const under: string[] = []
    const fresh: Picked[] = []
    for (const each of picked) {
      if (this.#goOn(each)) continue
      const known = this.#uppy.getFiles().find((file) => isSame(file, each) && file.meta.path === each.folder)
      if (known === undefined) fresh.push(each)
      else if (isUnfinished(phaseOf(this.#page(known)))) under.push(each.file.name)
      else {
        this.#uppy.removeFile(known.id)
        fresh.push(each)
      }
    }
    const before = new Set(this.#uppy.getFiles().map((file) => file.id))
    this.#uppy.addFiles(fresh.map(describe))
    const added = this.#uppy.getFiles().filter((file) => !before.has(file.id))
    for (const each of fresh) {
      const file = added.find((found) => isSame(found, each) && found.meta.path === each.folder)
      if (file !== undefined && each.handle !== null)
        void keepHandle(this.#handlePrefix + file.id, each.handle)
    }
    this.#start(added.map((file) => file.id))
    return under
  }

  /** Whether it is the file of a ghost, which goes on then. */
  #goOn(picked: Picked): boolean {
    const ghosts = this.#uppy.getFiles().filter((file) => file.isGhost && isSame(file, picked))
    const ghost = ghosts.find((file) => file.meta.path === picked.folder) ?? ghosts[0]
    if (ghost === undefined) return false
    this.#revive(ghost.id, picked.file)
    if (picked.handle !== null) void keepHandle(this.#handlePrefix + ghost.id, picked.handle)
    return true
  }

  #revive(id: string, file: File): void {
    this.#uppy.setFileState(id, { isGhost: false, data: file })
    this.#start([id])
  }

  /** Send these. (`upload()` would repeat all that failed too, and wait for them.) */
  #start(ids: string[]): void {
    if (ids.length === 0) return
    for (const id of ids) this.#begun.add(id)
    const others = this.#uppy
      .getFiles()
      .some((file) => file.error || (!file.progress.uploadStarted && !ids.includes(file.id)))
    if (!others && ids.every((id) => !this.#uppy.getFile(id).progress.uploadStarted)) {
      this.#uppy.upload().catch(ignore)
      return
    }
    for (const id of ids) this.#uppy.retryUpload(id)?.catch(ignore)
  }

  #restored(): void {
    const early = this.#early ?? []
    this.#early = null
    this.#uppy.setState({ currentUploads: {}, recoveredState: null, files: this.#revivedFiles() })
    const finished = this.#finished.ids
    this.#finished.clear()
    const done = this.#uppy.getFiles().filter((file) => file.progress.uploadComplete || finished.has(file.id))
    this.#uppy.removeFiles(done.map((file) => file.id))
    const back = this.#uppy.getFiles()
    this.#start(back.filter(goesOn).map((file) => file.id))
    this.add(early.filter((each) => !back.some((file) => !file.isGhost && isSame(file, each))))
    void this.#reopenAll(back)
  }

  /** All files, with chunk maps as they were: JSON has made plain objects of them. */
  #revivedFiles(): Record<string, StoredFile> {
    const files: Record<string, StoredFile> = this.#uppy.getState().files
    return Object.fromEntries(
      Object.entries(files).map(([id, file]) => {
        if (!file.forebay?.chunks) return [id, file]
        const states = Uint8Array.from(Object.values(file.forebay.chunks.states))
        return [id, { ...file, forebay: { ...file.forebay, chunks: { ...file.forebay.chunks, states } } }]
      }),
    )
  }

  async #reopenAll(back: StoredFile[]): Promise<void> {
    for (const file of back) {
      if (phaseOf(this.#page(file)) === 'ghost') await this.#reopen(file.id, false)
    }
    const still = this.files.filter((file) => phaseOf(file) === 'ghost').length
    if (back.length > 0) this.#hooks.restored(back.length, still)
    for (const key of await keptHandles(this.#handlePrefix)) {
      if (!this.#uppy.getFile(key.slice(this.#handlePrefix.length))) await forgetHandle(key)
    }
  }

  async #reopen(id: string, ask: boolean): Promise<boolean> {
    const file = await reopen(this.#handlePrefix + id, { ask })
    const ghost = this.#uppy.getFile(id)
    if (file === null || !ghost?.isGhost || !isSame(ghost, { file })) return false
    this.#uppy.setFileState(id, { isGhost: false, data: file })
    if (ask || !isPaused(ghost)) this.#start([id])
    return true
  }

  /** Open the file of a ghost again, where the browser knows where it is; false: it has to be selected again. */
  reopen(id: string): Promise<boolean> {
    return this.#reopen(id, true)
  }

  /** Take this as the file of that ghost; false: it is another one. */
  reselect(id: string, file: File): boolean {
    const ghost = this.#uppy.getFile(id)
    if (!ghost?.isGhost || !isSame(ghost, { file })) return false
    this.#revive(id, file)
    return true
  }

  pause(id: string): void {
    if (!this.#uppy.getFile(id).isPaused) this.#uppy.pauseResume(id)
  }

  resume(id: string): void {
    if (!this.#begun.has(id)) this.#start([id])
    else if (this.#uppy.getFile(id).isPaused) this.#uppy.pauseResume(id)
  }

  pauseAll(): void {
    this.#uppy.pauseAll()
  }

  resumeAll(): void {
    this.#uppy.resumeAll()
    const back = this.#uppy
      .getFiles()
      .filter((file) => !this.#begun.has(file.id) && !file.isGhost && !file.error)
    this.#start(back.map((file) => file.id))
  }

  retry(id: string): void {
    this.#start([id])
  }

  /** Try again what failed and whose file is here. */
  retryAll(): void {
    this.#start(
      this.#uppy
        .getFiles()
        .filter((file) => file.error && !file.isGhost)
        .map((file) => file.id),
    )
  }

  /** Stop it; nothing of it is kept, here and at the server. A file that is uploaded stays there. */
  remove(id: string): void {
    this.#removeAll([this.#uppy.getFile(id)])
  }

  /** Cancel all that is not finished, and clear the list. */
  cancelAll(): void {
    this.#removeAll(this.#uppy.getFiles())
  }

  /** Take from the list what is uploaded. */
  clear(): void {
    this.#removeAll(this.#uppy.getFiles().filter((file) => phaseOf(this.#page(file)) === 'completed'))
  }

  #removeAll(files: StoredFile[]): void {
    for (const file of files) void forgetHandle(this.#handlePrefix + file.id)
    this.#uppy.removeFiles(files.map((file) => file.id))
  }
}

function ignore(): void {
  // each file says what went wrong
}

function isPaused(file: StoredFile): boolean {
  return 'isPaused' in file && file.isPaused === true
}

/** Whether a file that came back needs nobody: its bytes are here, or the server has them all. */
function goesOn(file: StoredFile): boolean {
  if (file.forebay?.state === 'storing') return true
  return !file.isGhost && !file.error && !isPaused(file)
}

function isSame(known: StoredFile, picked: { file: File }): boolean {
  const { name, size, lastModified } = picked.file
  return known.name === name && known.size === size && known.meta.lastModified === lastModified
}

function describe({ file, folder }: Picked): MinimalRequiredUppyFile<PageMeta, Body> {
  return {
    name: file.name,
    type: file.type,
    data: file,
    source: 'page',
    meta: {
      name: file.name,
      type: file.type,
      path: folder,
      relativePath: `${folder}/${file.name}`,
      lastModified: file.lastModified,
    },
  }
}
