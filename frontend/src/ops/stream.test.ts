import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Connection, OpsStream } from './stream.ts'

/** What a browser's EventSource does, moved by hand. */
class FakeSource extends EventTarget {
  static opened: FakeSource[] = []
  onopen: (() => void) | null = null
  onerror: (() => void) | null = null
  closed = false

  constructor() {
    super()
    FakeSource.opened.push(this)
  }

  static get last(): FakeSource {
    return FakeSource.opened.at(-1) as FakeSource
  }

  say(name: string, data: unknown): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }))
  }

  close(): void {
    this.closed = true
  }
}

const answer = vi.fn<() => Promise<Response>>()
const seen = { connection: [] as Connection[], refused: 0, chunks: [] as number[] }
let stream: OpsStream

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('EventSource', FakeSource)
  vi.stubGlobal('addEventListener', vi.fn())
  vi.stubGlobal('removeEventListener', vi.fn())
  vi.stubGlobal('fetch', answer)
  FakeSource.opened = []
  Object.assign(seen, { connection: [], refused: 0, chunks: [] })
  const nothing = (): void => undefined
  stream = new OpsStream({
    listeners: {
      history: nothing,
      limits: nothing,
      destinations: nothing,
      uploads: nothing,
      incidents: nothing,
      sample: ({ chunks }) => seen.chunks.push(chunks),
    },
    onConnection: (state) => seen.connection.push(state),
    onRefused: () => {
      seen.refused += 1
    },
  })
})

afterEach(() => {
  stream.close()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const session = (status: number, body: object = {}): void => {
  answer.mockImplementation(async () => new Response(JSON.stringify(body), { status }))
}

describe('OpsStream', () => {
  it('is live once it is open, and hands on what comes', () => {
    FakeSource.last.onopen?.()
    FakeSource.last.say('sample', { chunks: 7 })
    expect(seen.connection).toEqual(['connecting', 'live'])
    expect(seen.chunks).toEqual([7])
  })

  it('comes back when the server was away', async () => {
    FakeSource.last.onopen?.()
    answer.mockRejectedValue(new TypeError('refused'))
    FakeSource.last.onerror?.()
    await vi.advanceTimersByTimeAsync(1000)
    expect(FakeSource.opened.length).toBe(2)
    FakeSource.last.onopen?.()
    expect(seen.connection).toEqual(['connecting', 'live', 'reconnecting', 'live'])
    expect(seen.refused).toBe(0)
  })

  it.each([
    ['the session is over', 401, {}],
    ['its user is no operator any more', 200, { user: 'anna', operator: false }],
  ])('ends when %s', async (_, status, body) => {
    session(status, body)
    FakeSource.last.onerror?.()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(seen.refused).toBe(1)
    expect(FakeSource.opened.every(({ closed }) => closed)).toBe(true)
  })

  it('is opened again when nothing has come for ten seconds', async () => {
    FakeSource.last.onopen?.()
    const first = FakeSource.last
    await vi.advanceTimersByTimeAsync(9_000)
    first.say('sample', { chunks: 1 })
    await vi.advanceTimersByTimeAsync(9_000)
    expect(FakeSource.opened.length).toBe(1)
    await vi.advanceTimersByTimeAsync(3_000)
    expect(first.closed).toBe(true)
    expect(FakeSource.opened.length).toBe(2)
  })
})
