/** A server, and the uploads to it, which share its lanes. */

import { DEFAULT_RETRY } from './backoff.ts'
import { inlineDigester } from './digester.ts'
import { Api } from './http.ts'
import { LanePool } from './lanes.ts'
import type { ClientOptions, Source, Upload, UploadOptions } from './types.ts'
import { type Shared, UploadTask } from './upload.ts'

const MAX_LANES = 4 // a browser has six connections to a host: two stay free, for events and for everything else

export class ForebayClient {
  readonly #shared: Shared

  constructor(options: ClientOptions = {}) {
    const policy = { ...DEFAULT_RETRY, ...options.retry }
    let signingIn: Promise<boolean> | null = null
    let signedInAt = Number.NEGATIVE_INFINITY
    this.#shared = {
      api: new Api(options, policy.stallMs),
      pool: new LanePool(Math.max(1, options.maxLanes ?? MAX_LANES)),
      policy,
      digester: options.digest === 'none' ? null : (options.digester ?? inlineDigester()),
      events: options.events ?? null,
      signIn(since) {
        // What was sent with the old token and is refused late: nobody is to sign in twice for it.
        if (since <= signedInAt) return Promise.resolve(true)
        signingIn ??= (options.onUnauthenticated?.(since) ?? Promise.resolve(false))
          .then((signedIn) => {
            if (signedIn) signedInAt = Date.now()
            return signedIn
          })
          .finally(() => {
            signingIn = null
          })
        return signingIn
      },
    }
  }

  /** A new upload, or one to take up again (`uploadId`); nothing happens before its `start()`. */
  upload(source: Source, options: UploadOptions = {}): Upload {
    return new UploadTask(this.#shared, source, options)
  }
}

/** A source of a `File` or `Blob`, which stays where it is: on disk, mostly. */
export function fileSource(
  file: Blob & { name?: string },
  more: Partial<Omit<Source, 'read' | 'size'>> = {},
): Source {
  return {
    name: more.name ?? file.name ?? 'file',
    type: more.type ?? file.type,
    path: more.path,
    size: file.size,
    read: (start, end) => file.slice(start, end),
  }
}
