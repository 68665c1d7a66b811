import { describe, expect, it } from 'vitest'
import { Model, mergeIncidents } from './model.ts'
import { incident, row, sample } from './samples.fixture.ts'

describe('Model', () => {
  it('takes rows that changed and forgets those that are gone', () => {
    const model = new Model()
    model.listeners.uploads({ rows: [row('a'), row('b')], gone: [] })
    model.listeners.uploads({ rows: [row('b', { received: 5 })], gone: ['a'] })
    expect([...model.rows.values()].map(({ id, received }) => [id, received])).toEqual([['b', 5]])
  })

  it('begins anew with each stream, and keeps its hour', () => {
    const model = new Model()
    model.listeners.uploads({ rows: [row('a')], gone: [] })
    model.listeners.incidents({ incidents: [incident(1)] })
    model.listeners.sample(sample(10))
    model.listeners.history({ step_seconds: 5, samples: [] })
    expect(model.rows.size).toBe(0)
    expect(model.incidents).toEqual([])
    expect(model.series.latest?.at).toBe(10)
  })

  it('goes by the clock of the server', () => {
    const model = new Model()
    model.listeners.sample(sample(Date.now() / 1000 + 500))
    expect(model.now() - Date.now() / 1000).toBeCloseTo(500, 0)
  })
})

describe('mergeIncidents', () => {
  it('puts the newest first, and one that came again in its new place with its count', () => {
    const known = mergeIncidents([], [incident(1), incident(2)])
    const merged = mergeIncidents(known, [incident(1, { at: 9, count: 3 })])
    expect(merged.map(({ id, count }) => [id, count])).toEqual([
      [1, 3],
      [2, 1],
    ])
  })

  it('keeps 200', () => {
    const many = Array.from({ length: 300 }, (_, index) => incident(index))
    const kept = mergeIncidents([], many)
    expect(kept.length).toBe(200)
    expect(kept[0]?.id).toBe(299)
  })
})
