/** Calls of the server's API from its own pages; the cookie says who calls. */

/** A refusal, in the server's words; `status` 0: it could not be reached. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly retryAfterMs: number | null

  constructor(status: number, code: string, detail: string, retryAfterMs: number | null = null) {
    super(detail)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.retryAfterMs = retryAfterMs
  }
}

export const API = '/api/v1'

/**
 * One call; `path` is below `/api/v1`. Returns the answer's JSON, undefined where it has none.
 *
 * Throws an `ApiError`; an `AbortError` when `signal` was.
 */
export async function api<T>(
  method: string,
  path: string,
  options: { body?: unknown; signal?: AbortSignal } = {},
): Promise<T> {
  const init: RequestInit = { method, headers: { accept: 'application/json' }, cache: 'no-store' }
  if (options.signal) init.signal = options.signal
  if (options.body !== undefined) {
    init.body = JSON.stringify(options.body)
    init.headers = { accept: 'application/json', 'content-type': 'application/json' }
  }
  let response: Response
  try {
    response = await fetch(API + path, init)
  } catch (error) {
    if (options.signal?.aborted) throw error
    throw new ApiError(0, 'unreachable', "The server can't be reached.")
  }
  const text = await response.text().catch(() => '')
  if (!response.ok) throw refusal(response, text)
  return (text === '' ? undefined : JSON.parse(text)) as T
}

function refusal(response: Response, text: string): ApiError {
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : null
  let problem: { code?: unknown; detail?: unknown } = {}
  try {
    problem = JSON.parse(text) as typeof problem
  } catch {
    // a proxy's page: its status has to do
  }
  const code = typeof problem.code === 'string' ? problem.code : 'http'
  const detail =
    typeof problem.detail === 'string' ? problem.detail : `The server answered ${response.status}.`
  return new ApiError(response.status, code, detail, retryAfterMs)
}
