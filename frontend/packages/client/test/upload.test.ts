/** The engine against the real server. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ForebayClient, ForebayError, type Upload, type UploadState } from '../src/index.ts'
import { CHUNK_IN_FLIGHT, CHUNK_MISSING } from '../src/types.ts'
import { bytesAt, inState, reached, sha256, source } from './helpers.ts'
import { BadLine } from './proxy.ts'
import { Server } from './server.ts'

const MIB = 1024 * 1024
const SETTINGS = { PARALLEL_UPLOAD_CHUNK_SIZE_MB: '1' }
const QUICK = { initialMs: 20, maxMs: 200 }

describe('against one server', () => {
  const server = new Server(SETTINGS)
  let line: BadLine
  beforeAll(async () => {
    await server.start()
  })
  afterAll(() => server.close())
  beforeEach(async () => {
    line = await new BadLine(() => server.port).open()
  })
  afterEach(() => line.close())

  test('a file arrives whole, in parallel chunks, verified', async () => {
    const size = 9 * MIB + 123
    let inFlight = 0
    let most = 0
    const client = new ForebayClient({ endpoint: server.endpoint })
    const upload = client.upload(source('whole.bin', size, { path: 'in/folder', type: 'text/plain' }))
    const states: UploadState[] = []
    upload.on('state', (state) => states.push(state))
    upload.on('chunk', ({ state }) => {
      inFlight += state === 1 ? 1 : -1
      most = Math.max(most, inFlight)
    })
    upload.start()
    const result = await upload.done
    expect(result).toMatchObject({ name: 'whole.bin', size, verified: true })
    expect(result.sha256).toBe(await sha256(bytesAt(0, size)))
    expect(await sha256(server.content('in/folder/whole.bin'))).toBe(result.sha256)
    expect(await sha256(new Uint8Array(await (await fetch(result.url)).arrayBuffer()))).toBe(result.sha256)
    expect(most).toBe(4)
    expect(states[0]).toBe('creating')
    expect(states).toContain('uploading')
    expect(states.at(-1)).toBe('completed')
    expect(upload.progress).toMatchObject({ received: size, stored: size, total: size, secondsLeft: 0 })
    expect(upload.progress.chunks.states.every((state) => state === 2)).toBe(true)
  })

  test('a file of zero bytes is stored', async () => {
    const upload = new ForebayClient({ endpoint: server.endpoint }).upload(source('nothing.bin', 0))
    upload.start()
    expect(await upload.done).toMatchObject({ size: 0, verified: true })
    expect(await server.size('nothing.bin')).toBe(0)
  })

  test('connections that are cut in the middle of chunks cost attempts, not the upload', async () => {
    line.cutAfter = MIB + 500_000
    const size = 12 * MIB
    const upload = new ForebayClient({ endpoint: line.endpoint, retry: QUICK }).upload(
      source('cut.bin', size),
    )
    upload.start()
    const result = await upload.done
    expect(line.cuts).toBeGreaterThan(2)
    expect(upload.progress.retries).toBeGreaterThan(2)
    expect(await sha256(server.content('cut.bin'))).toBe(result.sha256)
    expect(result.sha256).toBe(await sha256(bytesAt(0, size)))
  })

  test('paused in mid-chunk it sends nothing; resumed it sends what the server lacks, no more', async () => {
    line.bytesPerSecond = 6 * MIB
    const size = 10 * MIB
    let bodies = 0
    const client = new ForebayClient({
      endpoint: line.endpoint,
      onRequest: ({ method }) => {
        if (method === 'PUT') bodies++
      },
    })
    const upload = client.upload(source('paused.bin', size))
    upload.start()
    await reached(upload, () => upload.progress.received >= 3 * MIB)
    upload.pause()
    expect(upload.state).toBe('paused')
    const held = upload.progress.received
    const sent = bodies
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(upload.progress.received).toBe(held)
    expect(bodies).toBe(sent)
    expect([...upload.progress.chunks.states]).not.toContain(CHUNK_IN_FLIGHT)
    const lacking = upload.progress.chunks.states.filter((state) => state === CHUNK_MISSING).length
    line.bytesPerSecond = null
    bodies = 0
    upload.resume()
    const result = await upload.done
    expect(bodies).toBeLessThanOrEqual(lacking)
    expect(await sha256(server.content('paused.bin'))).toBe(await sha256(bytesAt(0, size)))
    expect(result.verified).toBe(true)
  })

  test('another client takes an upload up by its id, and verifies also what it did not send', async () => {
    line.bytesPerSecond = 6 * MIB
    const size = 8 * MIB
    const first = new ForebayClient({ endpoint: line.endpoint }).upload(source('again.bin', size))
    first.start()
    await reached(first, () => first.progress.received >= 2 * MIB)
    first.pause()
    const second = new ForebayClient({ endpoint: server.endpoint }).upload(source('again.bin', size), {
      uploadId: first.id as string,
    })
    let resumed = false
    second.on('created', (created) => {
      resumed = created.resumed
    })
    second.start()
    const result = await second.done
    expect(resumed).toBe(true)
    expect(result).toMatchObject({ id: first.id, verified: true })
    expect(await sha256(server.content('again.bin'))).toBe(await sha256(bytesAt(0, size)))
  })

  test('a file that has changed since is told apart at the end, if not before', async () => {
    const size = 4 * MIB
    line.bytesPerSecond = 6 * MIB
    const first = new ForebayClient({ endpoint: line.endpoint }).upload(source('other.bin', size))
    first.start()
    await reached(first, () => first.progress.received >= MIB)
    first.pause()
    const changed = source('other.bin', size, { read: (start, end) => bytesAt(start + 7, end + 7) })
    const second = new ForebayClient({ endpoint: server.endpoint }).upload(changed, {
      uploadId: first.id as string,
    })
    second.start()
    await expect(second.done).rejects.toMatchObject({ code: 'verification-failed' })
    const shorter = new ForebayClient({ endpoint: server.endpoint }).upload(source('other.bin', size - 1), {
      uploadId: first.id as string,
    })
    shorter.start()
    await expect(shorter.done).rejects.toMatchObject({ code: 'file-changed' })
  })

  test('cancelled, nothing of it is kept', async () => {
    line.bytesPerSecond = 4 * MIB
    const upload = new ForebayClient({ endpoint: line.endpoint }).upload(source('cancelled.bin', 8 * MIB))
    upload.start()
    await reached(upload, () => upload.progress.received > 0)
    await upload.cancel()
    expect(upload.state).toBe('cancelled')
    await expect(upload.done).rejects.toMatchObject({ code: 'cancelled' })
    const seen = await (await fetch(`${server.endpoint}/uploads/${upload.id}`)).json()
    expect(seen.state).toBe('cancelled')
    expect(await server.files()).not.toContain('cancelled.bin')
  })

  test('cancelled while it is being created, it is cancelled at the server too', async () => {
    let asked = () => {}
    const creating = new Promise<void>((resolve) => {
      asked = resolve
    })
    const client = new ForebayClient({ endpoint: server.endpoint, onRequest: () => asked() })
    const upload = client.upload(source('early.bin', 8 * MIB))
    upload.start()
    await creating
    await upload.cancel()
    expect(upload.state).toBe('cancelled')
    const { uploads } = await (await fetch(`${server.endpoint}/uploads?limit=500`)).json()
    const early = uploads.find((one: { filename: string }) => one.filename === 'early.bin')
    expect(early.state).toBe('cancelled')
  })

  test('paused before it has begun, it sends nothing until it is resumed', async () => {
    let requests = 0
    const client = new ForebayClient({ endpoint: server.endpoint, onRequest: () => requests++ })
    const upload = client.upload(source('not-yet.bin', MIB))
    upload.start()
    upload.pause()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(requests).toBe(0)
    upload.resume()
    expect((await upload.done).verified).toBe(true)
  })

  test('an upload that is gone fails clearly, and a retry begins anew', async () => {
    const client = new ForebayClient({ endpoint: server.endpoint })
    const upload = client.upload(source('gone.bin', MIB), { uploadId: '0'.repeat(32) })
    upload.start()
    await expect(upload.done).rejects.toMatchObject({ code: 'upload-gone', status: 404 })
    upload.retry()
    expect((await upload.done).verified).toBe(true)
  })

  test('cancelled by somebody else, it fails with the server’s words', async () => {
    line.bytesPerSecond = 4 * MIB
    const upload = new ForebayClient({ endpoint: line.endpoint, retry: QUICK }).upload(
      source('taken.bin', 8 * MIB),
    )
    upload.start()
    await reached(upload, () => upload.progress.received > 0)
    await fetch(`${server.endpoint}/uploads/${upload.id}`, { method: 'DELETE' })
    await expect(upload.done).rejects.toMatchObject({ code: 'upload-cancelled' })
  })

  test('a source that can’t be read any more is a clear failure, and a retry goes on', async () => {
    let readable = false
    const broken = source('unreadable.bin', 6 * MIB, {
      read: (start, end) => {
        if (start >= 3 * MIB && !readable) throw new DOMException('gone', 'NotReadableError')
        return bytesAt(start, end)
      },
    })
    const upload = new ForebayClient({ endpoint: server.endpoint }).upload(broken)
    upload.start()
    await expect(upload.done).rejects.toMatchObject({ code: 'file-unreadable' })
    const { id } = upload
    readable = true
    upload.retry()
    expect((await upload.done).id).toBe(id)
  })

  test('bytes that change on the way are refused by the server and sent again', async () => {
    let damaged = 0
    const client = new ForebayClient({
      endpoint: server.endpoint,
      retry: QUICK,
      fetch: (url, init) => {
        if (init?.body instanceof Uint8Array && damaged < 2) {
          damaged++
          return fetch(url, { ...init, body: damage(init.body as Uint8Array<ArrayBuffer>) })
        }
        return fetch(url, init)
      },
    })
    const upload = client.upload(source('damaged.bin', 3 * MIB))
    upload.start()
    const result = await upload.done
    expect(damaged).toBe(2)
    expect(upload.progress.retries).toBe(2)
    expect(result.sha256).toBe(await sha256(bytesAt(0, 3 * MIB)))
  })

  test('bytes that change every time end the upload', async () => {
    const client = new ForebayClient({
      endpoint: server.endpoint,
      retry: QUICK,
      fetch: (url, init) => {
        if (!(init?.body instanceof Uint8Array)) return fetch(url, init)
        return fetch(url, { ...init, body: damage(init.body as Uint8Array<ArrayBuffer>) })
      },
    })
    const upload = client.upload(source('always.bin', MIB))
    upload.start()
    await expect(upload.done).rejects.toMatchObject({ code: 'verification-failed' })
  })

  test('a server killed in the middle and started again gets the rest', async () => {
    line.bytesPerSecond = 4 * MIB
    const size = 10 * MIB
    const upload = new ForebayClient({ endpoint: line.endpoint, retry: QUICK }).upload(
      source('killed.bin', size),
    )
    upload.start()
    await reached(upload, () => upload.progress.received >= 2 * MIB)
    const { id } = upload
    await server.kill()
    const trouble = await reached(upload, () => upload.waiting)
    expect(trouble.code).toBe('connection-failed')
    await inState(upload, 'offline') // where the machine can't say whether it is online
    await server.start()
    line.bytesPerSecond = null
    const result = await upload.done
    expect(result.id).toBe(id)
    expect(await sha256(server.content('killed.bin'))).toBe(await sha256(bytesAt(0, size)))
  })

  test('resumed by hand, what waits is tried at once', async () => {
    line.refusing = true
    const client = new ForebayClient({
      endpoint: line.endpoint,
      retry: { initialMs: 600_000, maxMs: 600_000 },
    })
    const upload = client.upload(source('hand.bin', MIB))
    upload.start()
    await inState(upload, 'waiting')
    line.refusing = false
    upload.resume()
    await upload.done
  })

  test('patience ends', async () => {
    line.refusing = true
    const client = new ForebayClient({ endpoint: line.endpoint, retry: { ...QUICK, patienceMs: 300 } })
    const upload = client.upload(source('patience.bin', MIB))
    upload.start()
    const error = await upload.done.catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ForebayError)
    expect(error).toMatchObject({ code: 'connection-failed' })
    line.refusing = false
    upload.retry()
    await upload.done
  })

  test('all uploads of a client together have at most its lanes', async () => {
    let inFlight = 0
    let most = 0
    const client = new ForebayClient({
      endpoint: server.endpoint,
      maxLanes: 3,
      fetch: async (url, init) => {
        const body = init?.body instanceof Uint8Array
        if (body) most = Math.max(most, ++inFlight)
        try {
          return await fetch(url, init)
        } finally {
          if (body) inFlight--
        }
      },
    })
    const uploads = ['a', 'b', 'c'].map((name) => client.upload(source(`together-${name}.bin`, 5 * MIB)))
    for (const upload of uploads) upload.start()
    await Promise.all(uploads.map((upload) => upload.done))
    expect(most).toBe(3)
  })

  test('a lost answer to the creation makes no second upload', async () => {
    let lost = false
    const client = new ForebayClient({
      endpoint: server.endpoint,
      retry: QUICK,
      fetch: async (url, init) => {
        const response = await fetch(url, init)
        if (init?.method === 'POST' && !lost) {
          lost = true
          throw new TypeError('lost')
        }
        return response
      },
    })
    const upload = client.upload(source('once.bin', MIB))
    upload.start()
    await upload.done
    const { uploads } = await (await fetch(`${server.endpoint}/uploads?limit=500`)).json()
    expect(uploads.filter((one: { filename: string }) => one.filename === 'once.bin')).toHaveLength(1)
  })

  test('what the server refuses for good is told in its words', async () => {
    const upload = new ForebayClient({ endpoint: server.endpoint }).upload(source('..', 3))
    upload.start()
    const error = (await upload.done.catch((reason: unknown) => reason)) as ForebayError
    expect(error).toMatchObject({ code: 'invalid-name', status: 400 })
    expect(error.detail).toMatch(/name/i)
    expect(upload.state).toBe('failed')
  })

  test('what is no Forebay server is told so', async () => {
    const client = new ForebayClient({ endpoint: server.endpoint.replace('/api/v1', '/elsewhere') })
    const upload = client.upload(source('nowhere.bin', 3))
    upload.start()
    await expect(upload.done).rejects.toBeInstanceOf(ForebayError)
  })
})

describe('against a server set up otherwise', () => {
  let server: Server
  afterEach(() => server.close())

  test('in sequential mode one chunk goes after the other', async () => {
    server = await new Server({ ENABLE_PARALLEL_UPLOADS: 'False' }).start()
    let inFlight = 0
    let most = 0
    const size = 9 * MIB
    const upload = new ForebayClient({ endpoint: server.endpoint }).upload(source('sequential.bin', size))
    upload.on('chunk', ({ state }) => {
      inFlight += state === 1 ? 1 : -1
      most = Math.max(most, inFlight)
    })
    upload.start()
    await upload.done
    expect(most).toBe(1)
    expect(await sha256(server.content('sequential.bin'))).toBe(await sha256(bytesAt(0, size)))
  })

  test('the mode may change under way, in a restart', async () => {
    server = await new Server(SETTINGS).start()
    const line = await new BadLine(() => server.port).open()
    line.bytesPerSecond = 4 * MIB
    const size = 10 * MIB
    const upload = new ForebayClient({ endpoint: line.endpoint, retry: QUICK }).upload(
      source('mode.bin', size),
    )
    upload.start()
    await reached(upload, () => upload.progress.received >= 2 * MIB)
    await server.kill()
    await server.start({ ENABLE_PARALLEL_UPLOADS: 'False' })
    line.bytesPerSecond = null
    await upload.done
    expect(upload.progress.lanes).toBe(1)
    expect(await sha256(server.content('mode.bin'))).toBe(await sha256(bytesAt(0, size)))
    await line.close()
  })

  test('queued at the server, it says where it stands and holds one connection', async () => {
    server = await new Server({ ...SETTINGS, PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS: '1' }).start()
    const line = await new BadLine(() => server.port).open()
    line.bytesPerSecond = 2 * MIB
    const first = new ForebayClient({ endpoint: line.endpoint }).upload(source('first.bin', 12 * MIB))
    first.start()
    await reached(first, () => first.progress.received > 0)
    const second = new ForebayClient({ endpoint: server.endpoint }).upload(source('second.bin', 6 * MIB))
    second.start()
    await inState(second, 'queued')
    expect(second.progress.queuePosition).toBe(1)
    expect(await reached(second, () => inFlight(second.progress.chunks.states) === 1)).toBe(true)
    line.bytesPerSecond = null
    await Promise.all([first.done, second.done])
    expect(second.progress.queuePosition).toBeNull()
    await line.close()
  })

  test('refused for now, it waits as long as the server asks, and goes on', async () => {
    server = await new Server(SETTINGS).start()
    let refused = 0
    const client = new ForebayClient({
      endpoint: server.endpoint,
      fetch: (url, init) => {
        if (init?.method === 'PUT' && refused < 1) {
          refused++
          const problem = { code: 'limit-reached', detail: 'Upload limit exceeded or insufficient resources' }
          const headers = { 'content-type': 'application/problem+json', 'retry-after': '1' }
          return Promise.resolve(new Response(JSON.stringify(problem), { status: 503, headers }))
        }
        return fetch(url, init)
      },
    })
    const upload = client.upload(source('refused.bin', MIB))
    upload.start()
    const before = Date.now()
    const waiting = await reached(upload, () => upload.waiting)
    expect(waiting.reason).toBe('Upload limit exceeded or insufficient resources')
    expect(waiting.code).toBe('limit-reached')
    expect((waiting.until as number) - before).toBeGreaterThanOrEqual(900)
    expect(upload.state).toBe('waiting')
    await upload.done
    expect(Date.now() - before).toBeGreaterThanOrEqual(1000)
  })

  test('without a valid token it asks for a sign-in, once, and goes on with it', async () => {
    server = await new Server({ ...SETTINGS, FOREBAY_AUTH: 'tokens' }).start()
    let token = 'wrong'
    let asked = 0
    const client = new ForebayClient({
      endpoint: server.endpoint,
      token: () => token,
      onUnauthenticated: async () => {
        asked++
        token = await newToken(server)
        return true
      },
    })
    const uploads = ['one', 'two'].map((name) => client.upload(source(`${name}.bin`, MIB)))
    for (const upload of uploads) upload.start()
    await Promise.all(uploads.map((upload) => upload.done))
    expect(asked).toBe(1)
    const without = new ForebayClient({ endpoint: server.endpoint }).upload(source('three.bin', MIB))
    without.start()
    await expect(without.done).rejects.toMatchObject({ code: 'unauthenticated', status: 401 })
  })

  test('what was sent with the old token and is refused late asks for no second sign-in', async () => {
    server = await new Server({ ...SETTINGS, FOREBAY_AUTH: 'tokens' }).start()
    let token = 'wrong'
    let asked = 0
    let refused = 0
    let first: Promise<unknown> = Promise.resolve()
    const client = new ForebayClient({
      endpoint: server.endpoint,
      token: () => token,
      fetch: async (url, init) => {
        const answer = await fetch(url, init)
        if (answer.status === 401 && ++refused > 1) await first
        return answer
      },
      onUnauthenticated: async () => {
        asked++
        token = await newToken(server)
        return true
      },
    })
    const [one, two] = ['one', 'two'].map((name) => client.upload(source(`${name}.bin`, MIB))) as [
      Upload,
      Upload,
    ]
    first = one.done
    for (const upload of [one, two]) upload.start()
    await two.done
    expect([asked, refused]).toEqual([1, 2])
  })
})

function inFlight(states: Uint8Array): number {
  return states.filter((state) => state === 1).length
}

function damage(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.map((byte, index) => (index === 1000 ? byte ^ 1 : byte))
}

async function newToken(server: Server): Promise<string> {
  return (await server.command('token', 'create', 'anna')).trim()
}
