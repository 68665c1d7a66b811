import {
  ForebayClient,
  type ForebayError,
  fileSource,
  newKey,
  type Source,
  type Upload,
  type UploadOptions,
} from '@forebay/client'
import { BasePlugin, type Body, type DefinePluginOpts, type Meta, type Uppy, type UppyFile } from '@uppy/core'
import type { ForebayFileState, ForebayUploadOptions } from './options.ts'
import { Slots } from './slots.ts'

const defaults = { maxLanes: 4, limit: 3 }

type Options = DefinePluginOpts<ForebayUploadOptions, keyof typeof defaults>

const UNANSWERED: ReadonlySet<string> = new Set(['connection-failed', 'stalled'])

/** What is kept in Uppy's state: so that a refresh in the middle of the creation makes no second upload, its key too. */
interface Kept extends ForebayFileState {
  key: string
}

type WithState<M extends Meta, B extends Body> = UppyFile<M, B> & { forebay?: Kept }

/** A file that this plugin takes care of, until it has ended or was removed. */
interface Job {
  upload: Upload
  /** Whether a slot is held, or waited for. */
  leave: (() => void) | null
  chunksChanged: boolean
  unlisten: (() => void)[]
  ended: () => void
}

declare module '@uppy/core' {
  export interface PluginTypeRegistry<M extends Meta, B extends Body> {
    ForebayUpload: ForebayUpload<M, B>
  }
}

/**
 * Brings Uppy's files to a Forebay server.
 *
 * Each file's own state is `file.forebay` (`ForebayFileState`). A file holds one of the `limit` slots while its bytes
 * are sent, not while it is paused, nor while the server brings it to the destination. A file that is removed before its
 * end is cancelled at the server; one whose state came back with a refresh goes on where it was.
 */
export class ForebayUpload<M extends Meta, B extends Body> extends BasePlugin<Options, M, B> {
  readonly #client: ForebayClient
  readonly #slots: Slots
  readonly #jobs = new Map<string, Job>()

  constructor(uppy: Uppy<M, B>, options?: ForebayUploadOptions) {
    super(uppy, { ...defaults, ...options })
    this.id = this.opts.id ?? 'ForebayUpload'
    this.type = 'uploader'
    this.#client = new ForebayClient(this.opts)
    this.#slots = new Slots(Math.max(1, this.opts.limit))
  }

  override install(): void {
    this.#capable(true)
    this.uppy.addUploader(this.#uploadAll)
    this.uppy.on('upload-pause', this.#paused)
    this.uppy.on('pause-all', this.#pausedAll)
    this.uppy.on('resume-all', this.#resumedAll)
    this.uppy.on('file-removed', this.#removed)
  }

  override uninstall(): void {
    this.#capable(false)
    this.uppy.removeUploader(this.#uploadAll)
    this.uppy.off('upload-pause', this.#paused)
    this.uppy.off('pause-all', this.#pausedAll)
    this.uppy.off('resume-all', this.#resumedAll)
    this.uppy.off('file-removed', this.#removed)
    for (const [id, job] of this.#jobs) {
      job.upload.pause()
      this.#end(id, job)
    }
  }

  #capable(on: boolean): void {
    const { capabilities } = this.uppy.getState()
    this.uppy.setState({
      capabilities: { ...capabilities, resumableUploads: on, individualCancellation: true },
    })
  }

  readonly #uploadAll = async (ids: string[]): Promise<void> => {
    const files = this.uppy.getFilesByIds(ids).filter((file) => !file.error && !file.progress.uploadComplete)
    const begun = files.filter((file) => !file.progress.uploadStarted || !file.isRestored)
    this.uppy.emit('upload-start', begun)
    await Promise.all(files.map((file) => this.#uploadOne(file.id)))
  }

  /** Resolves when the file's upload has ended, well or not, or the file was removed. */
  #uploadOne(id: string): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#jobs.get(id)
      if (before !== undefined) this.#end(id, before)
      const file = this.uppy.getFile(id) as WithState<M, B>
      const known = file.forebay
      const key = known?.key ?? newKey()
      const upload = this.#client.upload(
        this.#source(file),
        this.#uploadOptions(file, known?.uploadId ?? null, key),
      )
      const job: Job = { upload, leave: null, chunksChanged: true, unlisten: [], ended: resolve }
      this.#jobs.set(id, job)
      this.#listen(id, job, key)
      this.#patch(id, { ...this.#described(job, key), ...(known ? carried(known) : {}) })
      if (!file.isPaused) this.#send(job)
    })
  }

  #source(file: UppyFile<M, B>): Source {
    const { name, type, relativePath } = file.meta
    const { path } = file.meta as { path?: unknown }
    const folder = typeof path === 'string' ? path : (relativePath ?? '').replace(/\/?[^/]*$/, '')
    const described = { name: name || file.name, type: type ?? file.type, path: folder.replace(/^\/+/, '') }
    if (file.data instanceof Blob) return fileSource(file.data, described)
    return {
      ...described,
      size: file.size ?? 0,
      read() {
        throw new DOMException('The file has to be selected again.', 'NotFoundError')
      },
    }
  }

  #uploadOptions(file: UppyFile<M, B>, uploadId: string | null, key: string): UploadOptions {
    const { destination = this.opts.destination } = file.meta as { destination?: string }
    return {
      idempotencyKey: key,
      ...(uploadId === null ? {} : { uploadId }),
      ...(destination === undefined ? {} : { destination }),
      ...(this.opts.onConflict === undefined ? {} : { onConflict: this.opts.onConflict }),
    }
  }

  #send(job: Job): void {
    const { upload } = job
    job.leave?.()
    job.leave = null
    // Taken in a later turn, so that `leave` is known when the upload begins.
    const leave = this.#slots.take(() =>
      queueMicrotask(() => {
        if (job.leave !== leave) return
        if (upload.state === 'paused') upload.resume()
        else upload.start()
      }),
    )
    job.leave = leave
  }

  #listen(id: string, job: Job, key: string): void {
    const { upload } = job
    const changed = () => this.#patch(id, this.#described(job, key))
    job.unlisten = [
      upload.on('chunk', () => {
        job.chunksChanged = true
      }),
      upload.on('created', () => {
        job.chunksChanged = true
        changed()
      }),
      upload.on('waiting', changed),
      upload.on('state', (state) => {
        changed()
        if (state === 'storing') {
          job.leave?.()
          job.leave = null
        }
      }),
      upload.on('progress', () => {
        changed()
        this.#tellProgress(id, upload)
      }),
      upload.on('done', (result) => {
        this.#patch(id, { ...this.#described(job, key), result })
        this.uppy.emit('upload-success', this.uppy.getFile(id), {
          status: 200,
          uploadURL: result.url,
          body: { ...result } as unknown as B,
        })
        this.#end(id, job)
      }),
      upload.on('error', (error) => {
        // Without an answer the upload may have been created: then the same key finds it.
        const given = upload.id === null && !UNANSWERED.has(error.code) ? newKey() : key
        this.#patch(id, { ...this.#described(job, given), error: plain(error) })
        this.uppy.emit('upload-error', this.uppy.getFile(id), { name: error.name, message: error.detail })
        this.#end(id, job)
      }),
    ]
  }

  #described({ upload, ...job }: Job, key: string): Kept {
    const { progress } = upload
    const { received, sent, stored, total, rate, secondsLeft, queuePosition, retries, lanes } = progress
    const { count, size, states } = progress.chunks
    return {
      ...{
        key,
        uploadId: upload.id,
        state: upload.state,
        waiting: upload.waiting,
        error: null,
        result: null,
      },
      ...{ received, sent, stored, total, rate, secondsLeft, queuePosition, retries, lanes },
      chunks: count > 0 && job.chunksChanged ? { count, size, states: states.slice() } : null,
    }
  }

  #patch(id: string, next: Kept): void {
    const file = this.uppy.getFile(id) as WithState<M, B> | undefined
    if (file === undefined) return
    const job = this.#jobs.get(id)
    if (job !== undefined) job.chunksChanged = false
    const chunks = next.chunks ?? file.forebay?.chunks ?? null
    this.uppy.setFileState(id, { forebay: { ...next, chunks } } as Partial<UppyFile<M, B>>)
  }

  #tellProgress(id: string, upload: Upload): void {
    const file = this.uppy.getFile(id)
    if (file === undefined || file.progress.percentage === 100) return
    this.uppy.emit('upload-progress', file, {
      uploadStarted: file.progress.uploadStarted ?? Date.now(),
      bytesUploaded: upload.progress.sent,
      bytesTotal: upload.progress.total,
    })
  }

  readonly #paused = (file: UppyFile<M, B> | undefined, isPaused: boolean): void => {
    if (file !== undefined) this.#pause(file.id, isPaused)
  }

  readonly #pausedAll = (): void => {
    for (const id of this.#jobs.keys()) this.#pause(id, true)
  }

  readonly #resumedAll = (): void => {
    for (const id of this.#jobs.keys()) this.#pause(id, false)
  }

  #pause(id: string, isPaused: boolean): void {
    const job = this.#jobs.get(id)
    if (job === undefined) return
    if (job.upload.state === 'storing') {
      this.uppy.setFileState(id, { isPaused: false }) // nothing is sent any more
    } else if (isPaused) {
      job.upload.pause()
      job.leave?.()
      job.leave = null
    } else if (job.leave === null) {
      this.#send(job)
    } else {
      job.upload.resume() // it waits for something: try at once
    }
  }

  readonly #removed = (file: UppyFile<M, B>): void => {
    const { forebay: known } = file as WithState<M, B>
    const job = this.#jobs.get(file.id)
    if (file.progress.uploadComplete || (job === undefined && !known?.uploadId)) return
    const upload =
      job?.upload ??
      this.#client.upload(this.#source(file), this.#uploadOptions(file, known?.uploadId ?? null, newKey()))
    if (job !== undefined) this.#end(file.id, job)
    upload.cancel().catch((error: unknown) => {
      // It expires there by itself.
      this.uppy.log(`The server could not be told that ${file.name} was cancelled: ${error}`, 'warning')
    })
  }

  #end(id: string, job: Job): void {
    for (const unlisten of job.unlisten) unlisten()
    job.leave?.()
    job.leave = null
    if (this.#jobs.get(id) === job) this.#jobs.delete(id)
    job.ended()
  }
}

/** What is known from before, until the server says more. */
function carried({ received, sent, stored, chunks, uploadId }: Kept): Partial<Kept> {
  return { received, sent: Math.min(sent, received), stored, chunks, uploadId }
}

function plain({ code, detail, status, retryAfterMs }: ForebayError): ForebayFileState['error'] {
  return { code, detail, status, retryAfterMs }
}
