import { describe, expect, it } from 'vitest'
import { bytes, bytesOf, duration, percent } from './format.ts'

describe('figures', () => {
  it.each([
    [0, '0\u00a0B'],
    [999, '999\u00a0B'],
    [999.6, '1.00\u00a0kB'],
    [1_234_567, '1.23\u00a0MB'],
    [9_996_000, '10.0\u00a0MB'],
    [99_960_000, '100\u00a0MB'],
    [2_000_000_000, '2.00\u00a0GB'],
  ])('%d bytes are %s', (count, text) => expect(bytes(count)).toBe(text))

  it('tell a part in the unit of the whole', () => {
    expect(bytesOf(1_500_000, 4_500_000_000)).toBe('0.00 of 4.50\u00a0GB')
    expect(bytesOf(5, 0)).toBe('5 of 0\u00a0B')
    expect(bytesOf(5, null)).toBe('5\u00a0B')
  })

  it.each([
    [0.2, '1\u00a0s'],
    [59.5, '1\u00a0min 00\u00a0s'],
    [125, '2\u00a0min 05\u00a0s'],
    [11_520, '3\u00a0h 12\u00a0min'],
    [187_200, '2\u00a0d 4\u00a0h'],
  ])('%d seconds are %s', (seconds, text) => expect(duration(seconds)).toBe(text))

  it('are 100 percent only when it is all', () => {
    expect([percent(999, 1000), percent(1000, 1000), percent(0, 0)]).toEqual([99, 100, 0])
  })
})
