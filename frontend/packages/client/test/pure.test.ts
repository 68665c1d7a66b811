/** What needs no server: plans, backoff, lanes, checksums, rates. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { delayMs, Patience, parseRetryAfter } from '../src/backoff.ts'
import { contentDigest, crc32c, crc32cJoin, crc32cOf, sha256Of } from '../src/crc32c.ts'
import { crc32cOfPiece, inlineDigester, workerDigester } from '../src/digester.ts'
import { ForebayError, isOutdated, isTransient, refusal } from '../src/errors.ts'
import { Gate, LanePool } from '../src/lanes.ts'
import { fillChunkMap, isMissing, missingChunks } from '../src/plan.ts'
import { Rate } from '../src/rate.ts'
import { Reader } from '../src/reader.ts'
import { Retrier } from '../src/retrier.ts'
import { bytesAt } from './helpers.ts'

const NEVER = new AbortController().signal
const POLICY = { patienceMs: 60_000, initialMs: 100, maxMs: 1000, stallMs: 5000 }

describe('plan', () => {
  test('a chunk is planned once if any byte of it is missing', () => {
    const missing = [
      { start: 25, end: 31 },
      { start: 0, end: 1 },
      { start: 30, end: 30 },
    ]
    expect(missingChunks(35, 10, missing)).toEqual([
      { number: 0, offset: 0, length: 10 },
      { number: 2, offset: 20, length: 10 },
      { number: 3, offset: 30, length: 5 },
    ])
  })

  test('nothing missing, nothing planned; sizes beyond 2^32 are counted right', () => {
    expect(missingChunks(35, 10, [])).toEqual([])
    const size = 2 ** 40 + 1
    expect(missingChunks(size, 2 ** 20, [{ start: size - 1, end: size }])).toEqual([
      { number: 2 ** 20, offset: 2 ** 40, length: 1 },
    ])
  })

  test('touching is not overlapping', () => {
    const chunk = { number: 1, offset: 10, length: 10 }
    expect(isMissing(chunk, [{ start: 0, end: 10 }])).toBe(false)
    expect(isMissing(chunk, [{ start: 19, end: 40 }])).toBe(true)
  })

  test('the map counts as missing what a list cut short does not tell', () => {
    const states = new Uint8Array(4)
    fillChunkMap(states, 40, 10, [{ start: 10, end: 20 }], 30)
    expect([...states]).toEqual([2, 0, 2, 2])
    fillChunkMap(states, 40, 10, [{ start: 10, end: 20 }], 15)
    expect([...states]).toEqual([2, 0, 0, 0])
  })
})

describe('backoff', () => {
  test('Retry-After is understood in both forms', () => {
    expect(parseRetryAfter('7')).toBe(7000)
    expect(parseRetryAfter('Fri, 27 Nov 2026 18:00:10 GMT', Date.UTC(2026, 10, 27, 18))).toBe(10_000)
    expect(parseRetryAfter('Fri, 27 Nov 2026 18:00:00 GMT', Date.UTC(2026, 10, 27, 19))).toBe(0)
    expect(parseRetryAfter('soon')).toBeNull()
    expect(parseRetryAfter('-5')).toBeNull()
    expect(parseRetryAfter(null)).toBeNull()
  })

  test('it doubles up to its limit, anywhere below', () => {
    expect(delayMs(0, POLICY, null, () => 1)).toBe(100)
    expect(delayMs(2, POLICY, null, () => 1)).toBe(400)
    expect(delayMs(50, POLICY, null, () => 1)).toBe(1000)
    expect(delayMs(2, POLICY, null, () => 0.5)).toBe(200)
    expect(delayMs(2, POLICY, null, () => 0)).toBeGreaterThan(0)
  })

  test('never earlier than the server asks', () => {
    expect(delayMs(0, POLICY, 30_000, () => 0)).toBe(30_000)
    expect(delayMs(0, POLICY, 30_000, () => 1)).toBeLessThan(34_000)
    expect(delayMs(0, POLICY, 0, () => 1)).toBe(100)
  })

  test('patience is spent by waiting and renewed by progress', () => {
    const patience = new Patience(100)
    expect(patience.spend(60)).toBe(true)
    patience.renew()
    expect(patience.spend(100)).toBe(true)
    expect(patience.spend(1)).toBe(false)
  })

  test('what may pass is told from what may not', () => {
    expect(isTransient(refusal(503, {}, null))).toBe(true)
    expect(isTransient(refusal(502, null, null))).toBe(true)
    expect(isTransient(refusal(429, {}, null))).toBe(true)
    expect(isTransient(refusal(501, {}, null))).toBe(false)
    expect(isTransient(refusal(403, {}, null))).toBe(false)
    expect(isTransient(refusal(422, { code: 'digest-mismatch' }, null))).toBe(true)
    expect(isOutdated(refusal(409, { code: 'mode-changed' }, null))).toBe(true)
    expect(isOutdated(refusal(409, { code: 'chunk-conflict' }, null))).toBe(false)
  })

  test('a refusal speaks in the words of the server', () => {
    const document = { code: 'out-of-space', detail: 'There is not enough room for this.', request_id: 'r1' }
    expect(refusal(507, document, 60_000)).toMatchObject({
      ...{
        code: 'out-of-space',
        detail: document.detail,
        status: 507,
        retryAfterMs: 60_000,
        requestId: 'r1',
      },
    })
  })
})

describe('retrier', () => {
  const changes: string[] = []
  let retrier: Retrier
  beforeEach(() => {
    vi.useFakeTimers()
    changes.length = 0
    retrier = new Retrier(POLICY, {
      busy: () => false,
      changed: () => changes.push(retrier.offline ? 'offline' : (retrier.trouble?.code ?? 'none')),
      signIn: () => Promise.resolve(false),
    })
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })
  const broken = new ForebayError('connection-failed', 'The connection to the server broke.')

  test('offline, it waits without end and spends no patience; the first success ends that', async () => {
    const machine = { onLine: false }
    vi.stubGlobal('navigator', machine)
    let attempts = 0
    const done = retrier.persist(() => {
      attempts++
      return machine.onLine ? Promise.resolve('there') : Promise.reject(broken)
    }, NEVER)
    await vi.advanceTimersByTimeAsync(24 * 3_600_000)
    expect(retrier.offline).toBe(true)
    expect(attempts).toBeGreaterThan(1)
    machine.onLine = true
    retrier.wake()
    expect(await done).toBe('there')
    retrier.succeeded()
    expect(retrier.offline).toBe(false)
  })

  test('it gives up when patience is at an end, with the last error', async () => {
    const done = retrier.persist(() => Promise.reject(refusal(503, { code: 'limit-reached' }, 25_000)), NEVER)
    const failed = expect(done).rejects.toMatchObject({ code: 'limit-reached' })
    await vi.advanceTimersByTimeAsync(120_000)
    await failed
  })

  test('what can’t pass is not repeated', async () => {
    let attempts = 0
    const refused = retrier.persist(() => {
      attempts++
      return Promise.reject(refusal(403, {}, null))
    }, NEVER)
    await expect(refused).rejects.toMatchObject({ status: 403 })
    expect(attempts).toBe(1)
  })

  test('one success wakes those who wait for the connection, not those who were told to wait', async () => {
    const tried: string[] = []
    const waits = (name: string, error: ForebayError) =>
      retrier.persist((attempt) => {
        tried.push(name)
        return attempt === 0 ? Promise.reject(error) : Promise.resolve()
      }, NEVER)
    vi.spyOn(Math, 'random').mockReturnValue(1)
    const both = [waits('broken', broken), waits('told', refusal(503, {}, 10_000))]
    await vi.advanceTimersByTimeAsync(1)
    retrier.succeeded()
    await both[0]
    expect(tried).toEqual(['broken', 'told', 'broken'])
    await vi.advanceTimersByTimeAsync(11_000)
    await both[1]
    vi.restoreAllMocks()
  })

  test('stopped, it ends at once', async () => {
    const stop = new AbortController()
    const done = retrier.persist(() => Promise.reject(broken), stop.signal)
    const ended = expect(done).rejects.toMatchObject({ name: 'AbortError' })
    await vi.advanceTimersByTimeAsync(1)
    stop.abort()
    await ended
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('lanes', () => {
  test('a broken wave halves them once, arrivals bring them back', async () => {
    const gate = new Gate(4)
    const first = await gate.enter(NEVER)
    const second = await gate.enter(NEVER)
    gate.shrink(first.wave)
    gate.shrink(second.wave)
    expect(gate.limit).toBe(2)
    gate.grow()
    gate.grow()
    gate.grow()
    expect(gate.limit).toBe(3)
    for (let more = 0; more < 20; more++) gate.grow()
    expect(gate.limit).toBe(4)
  })

  test('narrow, it lets one in at a time', async () => {
    const gate = new Gate(3)
    const { leave } = await gate.enter(NEVER)
    gate.narrow(true)
    let entered = false
    const next = gate.enter(NEVER).then((place) => {
      entered = true
      return place
    })
    await Promise.resolve()
    expect(entered).toBe(false)
    leave()
    leave()
    await next
    gate.narrow(false)
    await gate.enter(NEVER)
    await gate.enter(NEVER)
    expect(gate.limit).toBe(3)
  })

  test('a free place goes to the upload that has the fewest', async () => {
    const pool = new LanePool(2)
    const large = {}
    const small = {}
    const first = await pool.acquire(large, NEVER)
    await pool.acquire(large, NEVER)
    const order: string[] = []
    const again = pool.acquire(large, NEVER).then(() => order.push('large'))
    const other = pool.acquire(small, NEVER).then((release) => {
      order.push('small')
      release()
    })
    first()
    await Promise.all([again, other])
    expect(order).toEqual(['small', 'large'])
  })

  test('whoever stops waiting takes no place', async () => {
    const pool = new LanePool(1)
    const held = await pool.acquire({}, NEVER)
    const stop = new AbortController()
    const waiting = pool.acquire({}, stop.signal)
    stop.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    held()
    const release = await pool.acquire({}, NEVER)
    release()
  })
})

describe('digests', () => {
  const known = new TextEncoder().encode('123456789')

  test('the known vectors', () => {
    expect(crc32c(known)).toBe(0xe3069283)
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43)
    expect(crc32c(new Uint8Array(0))).toBe(0)
    expect(contentDigest(0xe3069283)).toBe('crc32c=:4waSgw==:')
    expect(crc32cOf('sha-256=:AAAA:, crc32c=:4waSgw==:')).toBe(0xe3069283)
    expect(sha256Of('crc32c=:4waSgw==:')).toBeNull()
  })

  test('any cut and any alignment gives the same', () => {
    const bytes = bytesAt(0, 1000)
    const whole = crc32c(bytes)
    for (const cut of [0, 1, 3, 16, 17, 500, 999, 1000]) {
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(whole)
      expect(crc32cJoin(crc32c(bytes.subarray(0, cut)), crc32c(bytes.subarray(cut)), 1000 - cut)).toBe(whole)
    }
  })

  test('a piece longer than one step', async () => {
    const bytes = bytesAt(5, 3_000_000)
    expect(await crc32cOfPiece(bytes)).toBe(crc32c(bytes))
    expect(await crc32cOfPiece(new Blob([bytes]))).toBe(crc32c(bytes))
  })

  test('a chunk whose digest was begun early is cut once, and anew when it is sent again', async () => {
    let cuts = 0
    const read = (start: number, end: number) => {
      cuts++
      return new Blob([bytesAt(start, end)])
    }
    const reader = new Reader({ name: 'a', size: 100, read }, inlineDigester())
    const { signal } = new AbortController()
    const chunk = { number: 1, offset: 50, length: 50 }
    reader.prepare(chunk, signal)
    expect(await reader.digest(chunk, signal)).toBe(crc32c(bytesAt(50, 100)))
    await reader.piece(chunk)
    expect(cuts).toBe(1)
    await reader.piece(chunk)
    expect(cuts).toBe(2)
  })

  test('through a worker; what it can’t read is an error, what nobody waits for is stopped', async () => {
    const worker = await workerOnThisThread()
    const digester = workerDigester(() => worker)
    expect(await digester.crc32c(new Blob([known]))).toBe(0xe3069283)
    const unreadable = new Blob([known])
    unreadable.stream = () => {
      throw new DOMException('changed', 'NotReadableError')
    }
    await expect(digester.crc32c(unreadable)).rejects.toMatchObject({ name: 'NotReadableError' })
    const stop = new AbortController()
    const stopped = digester.crc32c(new Blob([known]), stop.signal)
    stop.abort()
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' })
    expect(await digester.crc32c(known)).toBe(0xe3069283)
    digester.close()
  })

  test('where no worker can be started it computes here', async () => {
    const digester = workerDigester(() => {
      throw new DOMException('the policy forbids it', 'SecurityError')
    })
    expect(await digester.crc32c(known)).toBe(0xe3069283)
    expect(await digester.crc32c(known)).toBe(0xe3069283)
  })
})

describe('rate', () => {
  test('of the last seconds only', () => {
    const rate = new Rate()
    for (let at = 0; at <= 10_000; at += 500) rate.add(at < 5000 ? at : 5000 + (at - 5000) * 3, at)
    expect(rate.perSecond(20_000, 10_000)).toBeCloseTo(3000, -2)
  })

  test('bytes that are sent again don’t make it negative', () => {
    const rate = new Rate()
    rate.add(5000, 0)
    rate.add(1000, 1000)
    rate.add(2000, 2000)
    expect(rate.perSecond(2000, 2000)).toBe(1000)
  })
})

/** The worker's module, its messages carried by hand: Node's workers are of another kind. */
async function workerOnThisThread(): Promise<Worker> {
  const scope = globalThis as unknown as {
    onmessage: (event: { data: unknown }) => void
    postMessage: (data: unknown) => void
  }
  const worker = {
    onmessage: (_: { data: unknown }) => {},
    postMessage: (data: unknown) => scope.onmessage({ data }),
    terminate() {},
  }
  scope.postMessage = (data) => worker.onmessage({ data })
  await import('../src/worker.ts')
  return worker as unknown as Worker
}
