/**
 * The one error of the client. `code` is stable: the server's own where it answered (`limit-reached`,
 * `memory-pressure`, …), else one of these:
 *
 * `connection-failed` no answer · `stalled` nothing moved · `unexpected-answer` no Forebay server answers so ·
 * `file-unreadable` the source can't be read (changed, moved, permission gone) · `file-changed` other size than said ·
 * `upload-gone` the server does not know the upload (any more) · `upload-failed`, `upload-expired` it ended badly
 * there · `cancelled` · `verification-failed` bytes arrive damaged again and again.
 */
export class ForebayError extends Error {
  /** Sentence for the user: what happened and what to do. */
  readonly detail: string
  readonly code: string
  /** HTTP status; null when there was no answer. */
  readonly status: number | null
  /** After which the server asked to be tried again. */
  readonly retryAfterMs: number | null
  /** Under which the operator finds the request in the server's log. */
  readonly requestId: string | null

  constructor(
    code: string,
    detail: string,
    more: {
      status?: number | null
      retryAfterMs?: number | null
      requestId?: string | null
      cause?: unknown
    } = {},
  ) {
    super(detail, more.cause === undefined ? undefined : { cause: more.cause })
    this.name = 'ForebayError'
    this.code = code
    this.detail = detail
    this.status = more.status ?? null
    this.retryAfterMs = more.retryAfterMs ?? null
    this.requestId = more.requestId ?? null
  }
}
