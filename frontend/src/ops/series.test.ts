import { describe, expect, it } from 'vitest'
import { NO_WAITS, sample } from './samples.fixture.ts'
import { bounds, columns, fold, Series } from './series.ts'

const times = (series: Series, seconds: number): number[] => series.window(seconds).map(({ at }) => at)
const history = (...at: number[]) => ({ step_seconds: 5, samples: at.map((time) => sample(time)) })

describe('Series', () => {
  it('shows steps, and the time of a step up to now', () => {
    const series = new Series()
    for (let at = 100; at < 112; at += 0.5) series.add(sample(at, { bytes_in: at < 105 ? 10 : 20 }))
    expect(times(series, 3600)).toEqual([104.5, 109.5, 111.5])
    expect(series.window(3600).map(({ bytes_in }) => bytes_in)).toEqual([10, 20, 20])
  })

  it('shows no burst at the newest point as a peak', () => {
    const series = new Series()
    for (let at = 100; at < 110.1; at += 0.5) series.add(sample(at, { bytes_out: at % 2 === 0 ? 40 : 0 }))
    expect(series.latest?.bytes_out).toBe(40)
    expect(series.window(300).at(-1)?.bytes_out).toBeCloseTo(12)
    expect(series.now()?.bytes_out).toBeCloseTo(16)
  })

  it('is of now in what is counted', () => {
    const series = new Series()
    series.add(sample(1, { active_uploads: 9, loop_delay_ms: 70 }))
    series.add(sample(2, { active_uploads: 3 }))
    expect(series.now()).toMatchObject({ active_uploads: 3, loop_delay_ms: 70 })
  })

  it('holds an hour of steps and ten seconds of samples, whatever comes', () => {
    const series = new Series()
    for (let at = 0; at < 8000; at += 0.5) series.add(sample(at))
    expect(series.window(7200).length).toBeLessThanOrEqual(721)
    expect(series.window(3600).length).toBeGreaterThan(715)
    expect(series.recent(60).length).toBeLessThanOrEqual(21)
    expect(times(series, 300)[0]).toBeGreaterThan(8000 - 301)
  })

  it('drops what is not newer than the last', () => {
    const series = new Series()
    for (const at of [10, 10, 9, 11]) series.add(sample(at))
    expect(series.recent(10).map(({ at }) => at)).toEqual([10, 11])
  })

  it('takes the history of a connection that came back in place of its own steps', () => {
    const series = new Series()
    for (let at = 100; at <= 120; at += 0.5) series.add(sample(at, { chunks: 1 }))
    series.merge({
      step_seconds: 5,
      samples: [110, 115, 120, 125, 130].map((at) => sample(at, { chunks: 2 })),
    })
    series.add(sample(131))
    const hour = series.window(3600)
    expect(hour.map(({ at }) => at)).toEqual([104.5, 109.5, 110, 115, 120, 125, 130, 131])
    expect(hour.filter(({ at }) => at >= 110 && at <= 130).every(({ chunks }) => chunks === 2)).toBe(true)
  })

  it('keeps its hour when the server has started anew and knows nothing', () => {
    const series = new Series()
    for (let at = 100; at <= 120; at += 0.5) series.add(sample(at))
    series.merge(history())
    series.add(sample(150))
    expect(times(series, 3600)).toEqual([104.5, 109.5, 114.5, 119.5, 120, 150])
  })

  it('shows a history before anything else has come', () => {
    const series = new Series()
    series.merge(history(85, 90, 95))
    expect(times(series, 3600)).toEqual([85, 90, 95])
    expect(series.now()?.at).toBe(95)
  })

  it('knows nothing at first', () => {
    const series = new Series()
    expect(series.latest).toBeUndefined()
    expect(series.now()).toBeUndefined()
    expect(series.window(3600)).toEqual([])
    expect(series.recent(10)).toEqual([])
  })
})

describe('fold', () => {
  it('averages rates and waits, and keeps the highest of everything else', () => {
    const folded = fold([
      sample(1, {
        bytes_in: 10,
        active_uploads: 3,
        loop_delay_ms: 40,
        memory_level: 'high',
        memory_percent: null,
      }),
      sample(2, { bytes_in: 30, active_uploads: 1, causes: { ...NO_WAITS, disk: 2 }, memory_percent: 7 }),
    ])
    expect(folded).toMatchObject({
      at: 2,
      bytes_in: 20,
      active_uploads: 3,
      loop_delay_ms: 40,
      memory_level: 'high',
    })
    expect(folded.causes.disk).toBe(1)
    expect(folded.memory_percent).toBe(7)
  })

  it('knows nothing of what was not measured', () => {
    expect(fold([sample(1, { rss_bytes: null }), sample(2, { rss_bytes: null })]).rss_bytes).toBeNull()
  })
})

describe('columns', () => {
  it('breaks the lines where nothing came for longer', () => {
    const [at, chunks] = columns(
      [sample(0, { chunks: 1 }), sample(5, { chunks: 2 }), sample(60, { chunks: 3 })],
      [({ chunks }) => chunks],
      5,
    )
    expect(at).toEqual([0, 5, 10, 60])
    expect(chunks).toEqual([1, 2, null, 3])
  })
})

describe('bounds', () => {
  it('passes over what was not measured', () => {
    expect(bounds([null, 4, 2, null])).toEqual({ now: null, min: 2, max: 4 })
    expect(bounds([3, 0])).toEqual({ now: 0, min: 0, max: 3 })
    expect(bounds([null])).toBeNull()
    expect(bounds([])).toBeNull()
  })
})
