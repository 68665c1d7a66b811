/**
 * The one error of the client. `code` is stable: the server's own where it answered (`limit-reached`,
 * `memory-pressure`, …), else one of these:
 *
 * `connection-failed` no answer · `stalled` nothing moved · `unexpected-answer` no Forebay server answers so ·
 * `file-unreadable` the source can't be read (changed, moved, permission gone) · `file-changed` the server holds other
 * bytes of it · `upload-gone` the server does not know the upload (any more) · `upload-failed`, `upload-cancelled`,
 * `upload-expired` it ended badly there · `cancelled` by the caller · `verification-failed` what arrived or was stored
 * is not what was read.
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

const SERVER_ERROR = 500
const TRANSIENT_STATUS = new Set([408, 425, 429])
const TRANSIENT_CODES = new Set(['connection-failed', 'stalled', 'chunk-short', 'digest-mismatch'])
const NOT_IMPLEMENTED = 501

/** Whether the same request may succeed later. */
export function isTransient(error: ForebayError): boolean {
  if (TRANSIENT_CODES.has(error.code)) return true
  const status = error.status ?? 0
  return TRANSIENT_STATUS.has(status) || (status >= SERVER_ERROR && status !== NOT_IMPLEMENTED)
}

/** Whether there was no (whole) answer, so that nobody knows whether the server acted on the request. */
export function isConnectionFailure(error: ForebayError): boolean {
  return error.code === 'connection-failed' || error.code === 'stalled'
}

/** Whether what is planned does not fit what the server has: ask it, and plan anew. */
export function isOutdated(error: ForebayError): boolean {
  return error.status === 409 && error.code !== 'chunk-conflict'
}

/** The error for an answer that is none of success; `problem` are the members of its document, if it had one. */
export function refusal(
  status: number,
  problem: Record<string, unknown> | null,
  retryAfterMs: number | null,
): ForebayError {
  const text = (name: string) => (typeof problem?.[name] === 'string' ? (problem[name] as string) : null)
  if (problem === null && (status === 404 || status === 405)) {
    return new ForebayError('unexpected-answer', 'There is no Forebay server at this address.', { status })
  }
  return new ForebayError(
    text('code') ?? `http-${status}`,
    text('detail') ?? text('title') ?? `The server answered ${status}.`,
    { status, retryAfterMs, requestId: text('request_id') },
  )
}
