import { describe, expect, it } from 'vitest'
import { row } from './samples.fixture.ts'
import { arranged, BEGIN, matches, share, startsDescending } from './table-order.ts'
import { causeInWords, stateInWords } from './upload-row.ts'

const rows = [
  row('a', { filename: 'clip 10.mov', size: 5, created_at: 1, slowness: 'disk', owner: 'zoë' }),
  row('b', { filename: 'clip 9.mov', size: 9, created_at: 3, received: 9, stored: 1, owner: 'Anna' }),
  row('c', { filename: 'Ärger.zip', size: 7, created_at: 2, received: 7, stored: 7, slowness: 'client' }),
]
const ids = (view: Partial<typeof BEGIN>): string =>
  arranged(rows, { ...BEGIN, ...view })
    .map(({ id }) => id)
    .join('')

describe('the table of uploads', () => {
  it('begins with the newest', () => {
    expect(ids({})).toBe('bca')
  })

  it('sorts names as people do: numbers by value, letters whatever their case and accents', () => {
    expect(ids({ sort: 'filename', descending: false })).toBe('cba')
    expect(ids({ sort: 'owner', descending: false })).toBe('bca')
  })

  it('sorts by size, progress of both phases and cause, in either direction', () => {
    expect(ids({ sort: 'size' })).toBe('bca')
    expect(ids({ sort: 'size', descending: false })).toBe('acb')
    expect(ids({ sort: 'progress' })).toBe('cba')
    expect(ids({ sort: 'cause', descending: false })).toBe('cab')
  })

  it('puts those whose size nobody knows below the smallest, and shows no share of them', () => {
    const deferred = row('d', { size: null, received: 3 })
    const view = { ...BEGIN, sort: 'size', descending: false } as const
    expect(arranged([...rows, deferred], view)[0]).toBe(deferred)
    expect(share(3, null)).toBe(0)
  })

  it('keeps equals in the same order in both directions', () => {
    expect(ids({ sort: 'retries', descending: false })).toBe('abc')
    expect(ids({ sort: 'retries', descending: true })).toBe('abc')
  })

  it('finds all words of a text in name, owner, destination, id and problem', () => {
    const one = row('x1', { filename: 'Ferien.mov', owner: 'dana', problem: 'Drive is full.' })
    for (const text of ['ferien', 'DANA', 'x1', 'full', 'ferien dana', ' ', 'default']) {
      expect(matches(one, { ...BEGIN, text }), text).toBe(true)
    }
    expect(matches(one, { ...BEGIN, text: 'ferien erik' })).toBe(false)
  })

  it('finds states, those in the queue, and those held up', () => {
    const state = (differs: object, state: string): boolean => matches(row('x', differs), { ...BEGIN, state })
    expect(state({ state: 'transferring' }, 'transferring')).toBe(true)
    expect(state({ state: 'transferring' }, 'receiving')).toBe(false)
    expect(state({ queue_position: 1 }, 'waiting')).toBe(true)
    expect(state({}, 'waiting')).toBe(false)
    expect(state({ problem: 'No.' }, 'problem')).toBe(true)
    expect(state({}, 'problem')).toBe(false)
  })

  it('begins with the most where figures are sorted, and with the first letter where words are', () => {
    expect(startsDescending('size')).toBe(true)
    expect(startsDescending('owner')).toBe(false)
  })

  it('has no part of an empty file, and no more than the whole', () => {
    expect(share(0, 0)).toBe(0)
    expect(share(7, 5)).toBe(1)
  })

  it('says a state and a cause in words', () => {
    expect(stateInWords(row('x', { queue_position: 4 }))).toBe('In the queue, place 4')
    expect(stateInWords(row('x', { problem: 'No.' }))).toBe('Receiving, held up')
    expect(causeInWords('slab')).toBe('Waits for a free buffer')
    expect(causeInWords(null)).toBe('Nothing waits')
  })
})
