/**
 * One request, one answer: `fetch` or `XMLHttpRequest` on this side, values and `ForebayError` on the other. Nothing is
 * repeated here.
 *
 * Laws: what the platform throws never leaves this module, apart from the reason of the caller's signal; a request on
 * which nothing moves for `stallMs` is given up.
 */

import { parseRetryAfter } from './backoff.ts'
import { ForebayError, refusal } from './errors.ts'
import type { ClientOptions, ServerUpload } from './types.ts'

type Body = Blob | Uint8Array<ArrayBuffer>

/** Body bytes per millisecond below which a request that tells no progress is given up: a modem's. */
const SLOWEST = 8

interface Answer {
  status: number
  header(name: string): string | null
  text: string
}

interface Outgoing {
  method: string
  url: string
  headers: Record<string, string>
  body: Body | string | null
  onSent: (bytes: number) => void
  signal: AbortSignal
}

const OK = 200
const REDIRECT = 300

function problemOf(answer: Answer): Record<string, unknown> | null {
  if (!/json/.test(answer.header('content-type') ?? '')) return null
  try {
    const document: unknown = JSON.parse(answer.text)
    return typeof document === 'object' && document !== null ? (document as Record<string, unknown>) : null
  } catch {
    return null
  }
}

/** The server's HTTP API. */
export class Api {
  readonly #endpoint: string
  readonly #stallMs: number
  readonly #token: () => string | null
  readonly #fetch: typeof globalThis.fetch | null
  readonly #onRequest: ClientOptions['onRequest']

  constructor(options: ClientOptions, stallMs: number) {
    const { token } = options
    this.#endpoint = (options.endpoint ?? '/api/v1').replace(/\/+$/, '')
    this.#stallMs = stallMs
    this.#token = typeof token === 'function' ? token : () => token ?? null
    this.#fetch = options.fetch ?? null
    this.#onRequest = options.onRequest
  }

  /** The absolute or origin-relative address of a path of the API. */
  url(path: string): string {
    return this.#endpoint + path
  }

  create(body: object, key: string, signal: AbortSignal): Promise<ServerUpload> {
    const headers = { 'content-type': 'application/json', 'idempotency-key': key }
    return this.#upload('POST', '/uploads', signal, headers, JSON.stringify(body))
  }

  get(id: string, signal: AbortSignal): Promise<ServerUpload> {
    return this.#upload('GET', `/uploads/${encodeURIComponent(id)}`, signal)
  }

  async cancel(id: string, signal: AbortSignal): Promise<void> {
    await this.#request('DELETE', `/uploads/${encodeURIComponent(id)}`, { signal })
  }

  /** Send a chunk; `onSent` is told how much of it has gone out, where the platform knows. */
  async putChunk(
    id: string,
    number: number,
    body: Body,
    digest: string | null,
    onSent: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const headers: Record<string, string> = { 'content-type': 'application/octet-stream' }
    if (digest !== null) headers['content-digest'] = digest
    const path = `/uploads/${encodeURIComponent(id)}/chunks/${number}`
    await this.#request('PUT', path, { headers, body, onSent, signal })
  }

  async #upload(
    method: string,
    path: string,
    signal: AbortSignal,
    headers: Record<string, string> = {},
    body: string | null = null,
  ): Promise<ServerUpload> {
    const answer = await this.#request(method, path, { headers, body, signal })
    const document = problemOf(answer)
    if (typeof document?.id !== 'string' || typeof document.state !== 'string') {
      throw new ForebayError('unexpected-answer', 'There is no Forebay server at this address.', {
        status: answer.status,
      })
    }
    return document as unknown as ServerUpload
  }

  async #request(
    method: string,
    path: string,
    more: Partial<Pick<Outgoing, 'headers' | 'body' | 'onSent'>> & { signal: AbortSignal },
  ): Promise<Answer> {
    const { signal } = more
    signal.throwIfAborted()
    const token = this.#token()
    const url = this.url(path)
    const stall = new AbortController()
    const whole = more.body instanceof Blob ? more.body.size : (more.body?.length ?? 0)
    const usesXhr = this.#fetch === null && typeof XMLHttpRequest === 'function' && whole > 0
    const patience = this.#stallMs + (usesXhr ? 0 : whole / SLOWEST)
    const give = () => stall.abort(new ForebayError('stalled', 'The server does not answer: nothing moved.'))
    let timer = setTimeout(give, patience)
    const outgoing: Outgoing = {
      method,
      url,
      headers: {
        accept: 'application/json',
        ...more.headers,
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
      body: more.body ?? null,
      onSent: (bytes) => {
        clearTimeout(timer)
        timer = setTimeout(give, patience)
        more.onSent?.(bytes)
      },
      signal: AbortSignal.any([signal, stall.signal]),
    }
    this.#onRequest?.({ method, url })
    try {
      const answer = await (usesXhr ? throughXhr(outgoing) : throughFetch(outgoing, this.#fetch ?? fetch))
      if (answer.status >= OK && answer.status < REDIRECT) return answer
      throw refusal(answer.status, problemOf(answer), parseRetryAfter(answer.header('retry-after')))
    } catch (error) {
      signal.throwIfAborted()
      if (stall.signal.aborted) throw stall.signal.reason
      if (error instanceof ForebayError) throw error
      throw new ForebayError('connection-failed', 'The connection to the server broke.', { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }
}

async function throughFetch(request: Outgoing, send: typeof globalThis.fetch): Promise<Answer> {
  const { method, url, headers, body, signal } = request
  const response = await send(url, { method, headers, body, signal, redirect: 'error', cache: 'no-store' })
  const text = await response.text()
  return { status: response.status, header: (name) => response.headers.get(name), text }
}

function throughXhr({ method, url, headers, body, onSent, signal }: Outgoing): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const xhr = new XMLHttpRequest()
    const abort = () => {
      xhr.abort()
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    xhr.upload.onprogress = ({ loaded }) => onSent(loaded)
    xhr.onload = () =>
      resolve({ status: xhr.status, header: (name) => xhr.getResponseHeader(name), text: xhr.responseText })
    xhr.onerror = () => reject(new TypeError('network error'))
    xhr.onloadend = () => signal.removeEventListener('abort', abort)
    xhr.open(method, url)
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value)
    xhr.send(body as XMLHttpRequestBodyInit)
  })
}
