/** The server's news over one stream; Node 20 has no EventSource, so a small one stands in for it. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventSourceEvents, ForebayClient, type Upload } from '../src/index.ts'
import { source } from './helpers.ts'
import { Server } from './server.ts'

const MIB = 1024 * 1024

class EventStream extends EventTarget {
  static readonly OPEN = 1
  static readonly CLOSED = 2
  static opened: EventStream[] = []
  readyState = 0
  onopen: (() => void) | null = null
  onerror: (() => void) | null = null
  readonly #stop = new AbortController()

  constructor(url: string) {
    super()
    EventStream.opened.push(this)
    this.#read(url).catch(() => this.fail())
  }

  close(): void {
    this.readyState = EventStream.CLOSED
    this.#stop.abort()
  }

  /** The server has refused it: a browser does not try again. */
  fail(): void {
    if (this.#stop.signal.aborted) return
    this.close()
    this.onerror?.()
  }

  async #read(url: string): Promise<void> {
    const { body } = await fetch(url, { signal: this.#stop.signal })
    this.readyState = EventStream.OPEN
    this.onopen?.()
    let text = ''
    const decoder = new TextDecoder()
    for await (const piece of body as unknown as AsyncIterable<Uint8Array>) {
      const events = (text + decoder.decode(piece, { stream: true })).split('\n\n')
      text = events.pop() ?? ''
      for (const event of events) {
        const name = /^event: ?(.*)$/m.exec(event)?.[1]
        const data = /^data: ?(.*)$/m.exec(event)?.[1]
        if (name !== undefined) this.dispatchEvent(new MessageEvent(name, { data }))
      }
    }
  }
}

const server = new Server({ PARALLEL_UPLOAD_CHUNK_SIZE_MB: '1' })
beforeAll(async () => {
  await server.start()
  globalThis.EventSource = EventStream as unknown as typeof EventSource
})
afterAll(() => server.close())

test('all uploads follow one stream, which is open while one of them is under way', async () => {
  EventStream.opened = []
  let asked = 0
  let othersDone = Promise.resolve()
  const states: (number | undefined)[] = []
  let allNamed = () => {}
  const named = new Promise<void>((resolve) => {
    allNamed = resolve
  })
  const client = new ForebayClient({
    endpoint: server.endpoint,
    events: eventSourceEvents(`${server.endpoint}/events`),
    onRequest: ({ method }) => {
      if (method === 'GET') asked++
    },
    // The last one stands between its chunks and its storing when the others end.
    fetch: async (url, init) => {
      if (init?.method === 'PUT') await named
      if (init?.method === 'GET' && String(url).includes(last.id ?? ' ')) {
        await othersDone
        states.push(EventStream.opened[0]?.readyState)
      }
      return fetch(url, init)
    },
  })
  const uploads = ['a', 'b', 'c'].map((name) => client.upload(source(`${name}.bin`, 3 * MIB)))
  const last = uploads.pop() as Upload
  othersDone = Promise.all(uploads.map((upload) => upload.done)).then(() => {})
  const all = [...uploads, last]
  const creations = all.map((upload) => new Promise((resolve) => upload.on('created', resolve)))
  for (const upload of all) upload.start()
  await Promise.all(creations)
  allNamed()
  const results = await Promise.all(all.map((upload) => upload.done))
  expect(results.every((result) => result.verified)).toBe(true)
  expect(states).toContain(EventStream.OPEN)
  expect(states).not.toContain(EventStream.CLOSED)
  expect(EventStream.opened).toHaveLength(1)
  expect(EventStream.opened[0]?.readyState).toBe(EventStream.CLOSED)
  expect(asked).toBeLessThan(15)
})

test('a stream that was refused is opened again, and then everybody asks for what may have been missed', async () => {
  EventStream.opened = []
  const events = eventSourceEvents(`${server.endpoint}/events`)
  let lost = 0
  const opened = (times: number) => expect.poll(() => lost, { timeout: 5000 }).toBe(times)
  const unsubscribe = events.subscribe(
    'any',
    () => {},
    () => lost++,
  )
  await opened(1)
  EventStream.opened[0]?.fail()
  await opened(2)
  expect(EventStream.opened).toHaveLength(2)
  unsubscribe()
  expect(EventStream.opened[1]?.readyState).toBe(EventStream.CLOSED)
})
