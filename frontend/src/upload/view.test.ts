import type { ForebayFileState } from '@forebay/uppy'
import { describe, expect, it } from 'vitest'
import { headline, type PageFile, phaseOf, rowOf, totalOf } from './view.ts'

const NOW = 1_000_000

function file(forebay: Partial<ForebayFileState> | null, more: Partial<PageFile> = {}): PageFile {
  const state: ForebayFileState = {
    uploadId: 'u',
    state: 'uploading',
    received: 0,
    sent: 0,
    stored: 0,
    total: 1000,
    rate: 0,
    secondsLeft: null,
    queuePosition: null,
    retries: 0,
    lanes: 4,
    waiting: null,
    error: null,
    result: null,
    chunks: null,
  }
  return {
    id: 'f',
    name: 'f.bin',
    size: 1000,
    type: '',
    folder: '',
    isGhost: false,
    isPaused: false,
    error: null,
    forebay: forebay === null ? null : { ...state, ...forebay },
    ...more,
  }
}

describe('a row', () => {
  it('tells both phases apart', () => {
    const row = rowOf(file({ received: 500, sent: 600, stored: 250, rate: 100, secondsLeft: 4 }), NOW)
    expect([row.received, row.stored]).toEqual([0.6, 0.25])
    expect(row.spoken).toBe('50% received, 25% at the destination')
    expect([row.rate, row.left]).toEqual(['100\u00a0B/s', '4\u00a0s left'])
  })

  it('is full only when the file is at the destination', () => {
    expect(
      rowOf(file({ state: 'storing', received: 1000, sent: 1000, stored: 999 }), NOW).stored,
    ).toBeLessThan(1)
    expect(rowOf(file({ state: 'completed' }), NOW)).toMatchObject({ received: 1, stored: 1, spoken: 'Done' })
  })

  it('says a refusal as the server worded it, with the wait counting down', () => {
    const waiting = { reason: 'Upload limit reached', code: 'limit-reached', until: NOW + 9_500, attempt: 2 }
    const waits = file({ state: 'waiting', waiting })
    expect(rowOf(waits, NOW).sentence).toBe('Upload limit reached Trying again in 10\u00a0s.')
    expect(rowOf(waits, NOW + 9_000).sentence).toBe('Upload limit reached Trying again in 1\u00a0s.')
    expect(rowOf(waits, NOW + 10_000).sentence).toBe('Upload limit reached Trying again…')
  })

  it('says what the destination is waiting for, once the server has everything', () => {
    const waiting = { reason: 'The destination is full.', code: 'destination-full', until: null, attempt: 0 }
    expect(rowOf(file({ state: 'storing', received: 1000, waiting }), NOW)).toMatchObject({
      phase: 'waiting',
      sentence: 'The destination is full.',
    })
  })

  it('says the place in the queue', () => {
    expect(rowOf(file({ state: 'queued', queuePosition: 3 }), NOW).sentence).toBe(
      'The server is full. Number 3 in its queue.',
    )
  })

  it('of an empty file divides nothing by nothing', () => {
    expect(rowOf(file({}, { size: 0 }), NOW)).toMatchObject({ received: 0, stored: 0 })
  })

  it('asks for the file again where the browser does not have it any more, unless the server has all of it', () => {
    expect(phaseOf(file({ state: 'uploading' }, { isGhost: true }))).toBe('ghost')
    expect(phaseOf(file({ state: 'storing' }, { isGhost: true }))).toBe('storing')
    expect(phaseOf(file({ state: 'completed' }, { isGhost: true }))).toBe('completed')
  })
})

describe('all files', () => {
  it('are added up, those that failed left out', () => {
    const total = totalOf([
      file({ state: 'completed' }),
      file({ state: 'uploading', received: 400, sent: 500, rate: 50 }),
      file({ state: 'failed' }),
      file(null),
    ])
    expect(total).toMatchObject({
      files: 4,
      unfinished: 2,
      failed: 1,
      completed: 1,
      size: 3000,
      received: 1500,
    })
    expect(total.secondsLeft).toBe(30)
    expect(headline(total)).toBe('Uploading 2 files')
  })

  it('have a headline at the end too', () => {
    expect(headline(totalOf([file({ state: 'completed' })]))).toBe('1 file uploaded')
    expect(headline(totalOf([file({ state: 'completed' }), file({ state: 'failed' })]))).toBe(
      '1 file uploaded, 1 file failed',
    )
    expect(headline(totalOf([file({ state: 'paused' })]))).toBe('Paused: 1 file to go')
    expect(headline(totalOf([file({}, { isGhost: true })]))).toBe('1 file waits to be selected again')
  })
})
