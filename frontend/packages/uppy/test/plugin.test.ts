/** The plugin with Uppy's core against the real server; no page. */

import Uppy, { type Body, type Meta, type UppyFile } from '@uppy/core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { bytesAt, sha256 } from '../../client/test/helpers.ts'
import { BadLine } from '../../client/test/proxy.ts'
import { Server } from '../../client/test/server.ts'
import { type ForebayFileState, ForebayUpload, type ForebayUploadOptions } from '../src/index.ts'
import { Slots } from '../src/slots.ts'

const MIB = 1024 * 1024
const QUICK = { initialMs: 20, maxMs: 200 }

const server = new Server({ PARALLEL_UPLOAD_CHUNK_SIZE_MB: '1' })
let line: BadLine
let uppies: Uppy<Meta, Body>[] = []

beforeAll(async () => {
  await server.start()
})
afterAll(() => server.close())
beforeEach(async () => {
  line = await new BadLine(() => server.port).open()
})
afterEach(async () => {
  for (const uppy of uppies) uppy.destroy()
  uppies = []
  await line.close()
})

const silent = { debug() {}, warn() {}, error() {} }

function made(options: Partial<ForebayUploadOptions> = {}): Uppy<Meta, Body> {
  const uppy = new Uppy<Meta, Body>({ logger: silent, autoProceed: false })
  uppy.use(ForebayUpload, { endpoint: line.endpoint, retry: QUICK, ...options })
  uppies.push(uppy)
  return uppy
}

function add(uppy: Uppy<Meta, Body>, name: string, size: number, meta: Record<string, unknown> = {}): string {
  return uppy.addFile({ name, type: 'application/octet-stream', data: new Blob([bytesAt(0, size)]), meta })
}

function of(uppy: Uppy<Meta, Body>, id: string): ForebayFileState | undefined {
  const file = uppy.getFile(id) as (UppyFile<Meta, Body> & { forebay?: ForebayFileState }) | undefined
  return file?.forebay
}

/** Resolves when `found` gives something true, looked at after each change of Uppy's state. */
function reached<T>(uppy: Uppy<Meta, Body>, found: () => T | undefined | null | false): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      uppy.off('state-update', look)
      reject(new Error('not reached'))
    }, 20_000)
    function look(): void {
      const value = found()
      if (!value) return
      clearTimeout(timer)
      uppy.off('state-update', look)
      resolve(value)
    }
    uppy.on('state-update', look)
    look()
  })
}

async function seen(id: string): Promise<{ state: string }> {
  return (await fetch(`${server.endpoint}/uploads/${id}`)).json()
}

test('files arrive whole, in their folders, with result and address', async () => {
  const uppy = made()
  const names = ['one.bin', 'two.bin', 'three.bin']
  const ids = names.map((name) => add(uppy, name, 3 * MIB + 5, { relativePath: `album/${name}` }))
  const result = await uppy.upload()
  expect(result?.failed).toEqual([])
  expect(result?.successful).toHaveLength(3)
  for (const [index, name] of names.entries()) {
    expect(await sha256(server.content(`album/${name}`))).toBe(await sha256(bytesAt(0, 3 * MIB + 5)))
    const file = uppy.getFile(ids[index] as string)
    const state = of(uppy, file.id) as ForebayFileState
    expect(state).toMatchObject({ state: 'completed', received: 3 * MIB + 5, stored: 3 * MIB + 5 })
    expect(state.result).toMatchObject({ name, verified: true })
    expect(state.chunks?.states.every((one) => one === 2)).toBe(true)
    expect(file.progress).toMatchObject({ uploadComplete: true, percentage: 100 })
    expect(file.uploadURL).toBe(state.result?.url)
  }
})

test('paused with Uppy it stands still, resumed it goes on', async () => {
  line.bytesPerSecond = 6 * MIB
  const uppy = made()
  const id = add(uppy, 'paused.bin', 8 * MIB)
  const done = uppy.upload()
  await reached(uppy, () => (of(uppy, id)?.received ?? 0) >= 2 * MIB)
  expect(uppy.pauseResume(id)).toBe(true)
  await reached(uppy, () => of(uppy, id)?.state === 'paused')
  const held = of(uppy, id)?.received
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(of(uppy, id)?.received).toBe(held)
  line.bytesPerSecond = null
  uppy.pauseResume(id)
  expect((await done)?.successful).toHaveLength(1)
  expect(await sha256(server.content('paused.bin'))).toBe(await sha256(bytesAt(0, 8 * MIB)))
})

test('pause-all and resume-all hold for all files', async () => {
  line.bytesPerSecond = 4 * MIB
  const uppy = made({ limit: 2 })
  const ids = ['a', 'b', 'c'].map((name) => add(uppy, `all-${name}.bin`, 4 * MIB))
  const done = uppy.upload()
  await reached(uppy, () => (of(uppy, ids[0] as string)?.received ?? 0) >= MIB)
  uppy.pauseAll()
  for (const id of ids) expect(['paused', 'idle']).toContain(of(uppy, id)?.state)
  line.bytesPerSecond = null
  uppy.resumeAll()
  expect((await done)?.successful).toHaveLength(3)
})

test('so many files at once as the limit says; one that is paused makes room', async () => {
  line.bytesPerSecond = 6 * MIB
  const uppy = made({ limit: 1 })
  const first = add(uppy, 'limit-1.bin', 6 * MIB)
  const second = add(uppy, 'limit-2.bin', 2 * MIB)
  const done = uppy.upload()
  await reached(uppy, () => (of(uppy, first)?.received ?? 0) >= MIB)
  expect(of(uppy, second)?.state).toBe('idle')
  uppy.pauseResume(first)
  await reached(uppy, () => of(uppy, second)?.state === 'completed')
  expect(of(uppy, first)?.state).toBe('paused')
  line.bytesPerSecond = null
  uppy.pauseResume(first)
  expect((await done)?.successful).toHaveLength(2)
})

test('removed, it is cancelled at the server, and the others go on', async () => {
  line.bytesPerSecond = 6 * MIB
  const uppy = made()
  const removed = add(uppy, 'removed.bin', 8 * MIB)
  const stays = add(uppy, 'stays.bin', 2 * MIB)
  const done = uppy.upload()
  const uploadId = await reached(
    uppy,
    () => (of(uppy, removed)?.received ?? 0) > 0 && of(uppy, removed)?.uploadId,
  )
  uppy.removeFile(removed)
  line.bytesPerSecond = null
  expect((await done)?.successful?.map((file) => file.id)).toEqual([stays])
  await expect.poll(async () => (await seen(uploadId)).state).toBe('cancelled')
})

test('what failed is told in the words of the server; a retry with Uppy goes on where it was', async () => {
  const uppy = made({
    fetch: (url, init) => {
      if (!broken || init?.method !== 'PUT' || !String(url).endsWith('/3')) return fetch(url, init)
      const headers = { 'content-type': 'application/problem+json' }
      const problem = { code: 'forbidden', detail: 'This is not allowed.' }
      return Promise.resolve(new Response(JSON.stringify(problem), { status: 403, headers }))
    },
  })
  let broken = true
  const id = add(uppy, 'failed.bin', 6 * MIB)
  const result = await uppy.upload()
  expect(result?.failed).toHaveLength(1)
  expect(of(uppy, id)).toMatchObject({
    state: 'failed',
    error: { code: 'forbidden', status: 403, detail: 'This is not allowed.' },
  })
  expect(uppy.getFile(id).error).toBe('This is not allowed.')
  const uploadId = of(uppy, id)?.uploadId
  expect(uploadId).toBeTruthy()
  broken = false
  expect((await uppy.retryUpload(id))?.successful).toHaveLength(1)
  expect(of(uppy, id)).toMatchObject({ state: 'completed', uploadId, error: null })
})

test('a failed one that is removed is given up at the server too', async () => {
  const uppy = made({
    fetch: (url, init) =>
      init?.method === 'PUT' ? Promise.resolve(new Response('{}', { status: 403 })) : fetch(url, init),
  })
  const id = add(uppy, 'given-up.bin', 2 * MIB)
  await uppy.upload()
  const uploadId = of(uppy, id)?.uploadId as string
  uppy.removeFile(id)
  await expect.poll(async () => (await seen(uploadId)).state).toBe('cancelled')
})

test('state that came back with a refresh goes on with the same upload', async () => {
  line.bytesPerSecond = 6 * MIB
  const before = made()
  const id = add(before, 'refreshed.bin', 8 * MIB)
  before.upload().catch(() => {})
  await reached(before, () => (of(before, id)?.received ?? 0) >= 2 * MIB)
  const { files, currentUploads } = structuredClone(before.getState())
  before.removePlugin(before.getPlugin('ForebayUpload') as never)
  line.bytesPerSecond = null
  const after = made()
  const file = files[id] as UppyFile<Meta, Body>
  const data = new Blob([bytesAt(0, 8 * MIB)])
  after.setState({
    files: { [id]: { ...file, isRestored: true, isRemote: false, isGhost: false, data } },
    currentUploads,
  })
  const uploadId = (file as { forebay?: ForebayFileState }).forebay?.uploadId
  const result = await after.restore(Object.keys(currentUploads)[0] as string)
  expect(result?.successful).toHaveLength(1)
  expect(of(after, id)).toMatchObject({ state: 'completed', uploadId })
  expect(await sha256(server.content('refreshed.bin'))).toBe(await sha256(bytesAt(0, 8 * MIB)))
})

test('a file that came back paused stays so until it is resumed', async () => {
  const uppy = made()
  const id = add(uppy, 'stays-paused.bin', 2 * MIB)
  uppy.setFileState(id, { isPaused: true })
  const done = uppy.upload()
  await reached(uppy, () => of(uppy, id))
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(of(uppy, id)?.uploadId).toBeNull()
  uppy.pauseResume(id)
  expect((await done)?.successful).toHaveLength(1)
})

test('slots go in order; one that is left twice is free once', () => {
  const slots = new Slots(1)
  const order: string[] = []
  const leaveA = slots.take(() => order.push('a'))
  const leaveB = slots.take(() => order.push('b'))
  const leaveC = slots.take(() => order.push('c'))
  leaveB()
  expect(order).toEqual(['a'])
  leaveA()
  leaveA()
  expect(order).toEqual(['a', 'c'])
  slots.take(() => order.push('d'))
  expect(order).toEqual(['a', 'c'])
  leaveC()
  expect(order).toEqual(['a', 'c', 'd'])
})
