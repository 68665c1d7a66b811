import { describe, expect, it } from 'vitest'
import { CAUSES, meanCauses, SteadyCause, shares, sharesInWords, WORDS } from './causes.ts'
import { destination, limits, NO_WAITS, sample } from './samples.fixture.ts'
import { Series } from './series.ts'
import { explain } from './slowness.ts'

const seriesOf = (...samples: ReturnType<typeof sample>[]): Series => {
  const series = new Series()
  for (const each of samples) series.add(each)
  return series
}

describe('causes', () => {
  it('have each their own words', () => {
    const headlines = new Set(CAUSES.map((cause) => WORDS[cause].headline))
    expect(headlines.size).toBe(6)
    for (const cause of CAUSES) expect(WORDS[cause].advice.length).toBeGreaterThan(20)
  })

  it('are said with their shares, the largest first, without those that are nothing', () => {
    expect(sharesInWords({ ...NO_WAITS, disk: 1, destination: 3 })).toBe('Destination 75 %, Disk 25 %')
    expect(sharesInWords(NO_WAITS)).toBe('nothing waits')
  })

  it('have shares of nothing where nothing waits', () => {
    expect(shares(NO_WAITS).every(({ share }) => share === 0)).toBe(true)
  })

  it('are averaged over samples', () => {
    const causes = meanCauses([
      sample(1, { causes: { ...NO_WAITS, queue: 4 } }),
      sample(2, { causes: { ...NO_WAITS, slab: 2 } }),
    ])
    expect(causes).toEqual({ ...NO_WAITS, queue: 2, slab: 1 })
    expect(meanCauses([])).toEqual(NO_WAITS)
  })
})

describe('SteadyCause', () => {
  it('shows a cause that was said twice in succession, and holds it until another was', () => {
    const steady = new SteadyCause()
    expect(steady.next('disk')).toBeNull()
    expect(steady.next('disk')).toBe('disk')
    expect(steady.next('client')).toBe('disk')
    expect(steady.next('disk')).toBe('disk')
    expect(steady.next(null)).toBe('disk')
    expect(steady.next(null)).toBeNull()
  })
})

describe('explain', () => {
  it('says that nothing keeps uploads, or that there are none', () => {
    const quiet = { limits, destinations: {} }
    expect(
      explain(null, { ...quiet, series: seriesOf(sample(1, { active_uploads: 2 })) }).headline,
    ).toContain('as fast as they come')
    expect(explain(null, { ...quiet, series: seriesOf(sample(1)) }).headline).toContain('no upload')
  })

  it.each(CAUSES.map((cause) => [cause]))('names %s and what to do about it', (cause) => {
    const words = explain(cause, { limits, destinations: {}, series: seriesOf(sample(1)) })
    expect(words.headline).toBe(WORDS[cause].headline)
    expect(words.advice).not.toBe('')
  })

  it('says which limit a queue is due to', () => {
    const of = (differs: object): string =>
      explain('queue', { limits, destinations: {}, series: seriesOf(sample(1, { queued: 3, ...differs })) })
        .meaning
    expect(of({ active_uploads: 20 })).toBe('All 20 slots for uploads are taken; 3 in the queue.')
    expect(of({ active_users: 10 })).toBe('All 10 places for users are taken; 3 in the queue.')
  })

  it('lets the destination that is left alone say what it needs', () => {
    const words = explain('backoff', {
      limits,
      series: seriesOf(sample(1)),
      destinations: {
        files: destination(),
        drive: destination({ breaker: 'open', sentence: 'Log in again.' }),
      },
    })
    expect(words.meaning).toBe('drive: Log in again.')
  })
})
