import { describe, expect, it } from 'vitest'
import { moment } from '../shared/format.ts'
import { health, quotas } from './destinations.ts'
import { milliseconds, number, sharePercent, whenHappened } from './format.ts'
import { destination } from './samples.fixture.ts'
import { sparkline } from './tiles.ts'

const plain = (text: string): string => text.replaceAll('\u00a0', ' ')

describe('figures', () => {
  it.each([
    [0, '0.0 ms'],
    [9.94, '9.9 ms'],
    [9.96, '10 ms'],
    [999.4, '999 ms'],
    [999.6, '1.00 s'],
    [9990, '9.99 s'],
    [61_000, '61.0 s'],
  ])('%d milliseconds are %s', (value, words) => {
    expect(plain(milliseconds(value))).toBe(words)
  })

  it.each([
    [0, '0 %'],
    [0.004, '0.4 %'],
    [0.0996, '10 %'],
    [1, '100 %'],
  ])('a share of %d is %s', (value, words) => {
    expect(plain(sharePercent(value))).toBe(words)
  })

  it.each([
    [3, '3'],
    [3.25, '3.3'],
    [1234.5, '1,235'],
  ])('%d is %s', (value, words) => {
    expect(number(value)).toBe(words)
  })

  it('says the day of what did not happen today', () => {
    const now = new Date(2026, 5, 2, 12)
    const at = (date: Date): string => whenHappened(date.getTime() / 1000, now)
    const yesterday = new Date(2026, 5, 1, 11, 5)
    expect(at(new Date(2026, 5, 2, 11, 5, 7))).toContain('07')
    expect(at(yesterday)).toBe(moment(yesterday, now))
  })
})

describe('a destination', () => {
  it('works, waits, is parked, or is left alone with the time to its next attempt', () => {
    expect(health(destination(), 100)).toEqual({ level: 'ok', words: 'Works' })
    expect(health(destination({ waiting: 1 }), 100).level).toBe('warn')
    expect(health(destination({ parked: 2, waiting: 2 }), 100)).toEqual({ level: 'warn', words: '2 parked' })
    const open = destination({ breaker: 'open', backoff_until: 142 })
    expect(plain(health(open, 100).words)).toBe('Left alone, next attempt in 42 s')
    expect(health(open, 150)).toEqual({ level: 'bad', words: 'Left alone, being tried now' })
  })

  it('shows what is used of what there is, and what is known alone where there is no limit', () => {
    const report = {
      sent_in_24_hours: 375e9,
      daily_limit: 750e9,
      storage_used: 5,
      storage_limit: null,
      login_ok: true,
    }
    expect(quotas(report).map(({ words, share }) => [plain(words), share])).toEqual([
      ['375 GB of 750 GB (50 %)', 0.5],
      ['5 B', null],
    ])
    expect(quotas(null)).toEqual([])
  })
})

describe('a sparkline', () => {
  it('has the newest at its right edge and the ceiling at its top', () => {
    const points = sparkline(
      [
        { at: 0, value: 0 },
        { at: 5, value: null },
        { at: 10, value: 8 },
      ],
      10,
      8,
    )
    expect(points).toBe('0.0,26.5 120.0,1.5')
  })

  it('lies at the bottom where everything is zero', () => {
    expect(sparkline([{ at: 1, value: 0 }], 10, undefined)).toBe('120.0,26.5')
  })
})
