/** The strip of numbers at the top, each with the last five minutes as a line. */

import { bytes, rate } from '../shared/format.ts'
import { el, mark, say, svg } from './dom.ts'
import { milliseconds, number, sharePercent } from './format.ts'
import type { Limits, Sample } from './messages.ts'
import type { Series } from './series.ts'

const WIDTH = 120
const HEIGHT = 28
const WINDOW_S = 300

type Level = 'ok' | 'warn' | 'bad'

interface Tile {
  label: string
  value(sample: Sample, limits: Limits | null): string
  /** The small line under the value. */
  note(sample: Sample, limits: Limits | null): string
  reading(sample: Sample): number | null
  /** What the top of the line stands for; the window's highest value where there is none. */
  ceiling?(limits: Limits | null): number | undefined
  level?(sample: Sample, limits: Limits | null): Level
}

const full = (used: number, limit: number | undefined): Level =>
  limit !== undefined && used >= limit ? 'warn' : 'ok'

const time = (value: number | null): string => (value === null ? '–' : milliseconds(value))

const TILES: readonly Tile[] = [
  {
    label: 'Bytes in',
    value: (sample) => rate(sample.bytes_in),
    note: () => 'received',
    reading: (sample) => sample.bytes_in,
  },
  {
    label: 'Bytes out',
    value: (sample) => rate(sample.bytes_out),
    note: () => 'to destinations',
    reading: (sample) => sample.bytes_out,
  },
  {
    label: 'Chunks',
    value: (sample) => `${number(sample.chunks)}/s`,
    note: () => 'stored',
    reading: (sample) => sample.chunks,
  },
  {
    label: 'Errors',
    value: (sample) => sharePercent(sample.error_rate),
    note: () => 'of chunks',
    reading: (sample) => sample.error_rate,
    level: (sample) => (sample.error_rate >= 0.05 ? 'bad' : sample.error_rate > 0 ? 'warn' : 'ok'),
  },
  {
    label: 'Active uploads',
    value: (sample) => number(sample.active_uploads),
    note: (_, limits) => (limits === null ? '' : `of ${number(limits.max_uploads)}`),
    reading: (sample) => sample.active_uploads,
    ceiling: (limits) => limits?.max_uploads,
    level: (sample, limits) => full(sample.active_uploads, limits?.max_uploads),
  },
  {
    label: 'Users',
    value: (sample) => number(sample.active_users),
    note: (_, limits) => (limits === null ? '' : `of ${number(limits.max_users)}`),
    reading: (sample) => sample.active_users,
    ceiling: (limits) => limits?.max_users,
    level: (sample, limits) => full(sample.active_users, limits?.max_users),
  },
  {
    label: 'Queue',
    value: (sample) => number(sample.queued),
    note: (sample) => (sample.queued > 0 ? 'wait for a slot' : 'nobody waits'),
    reading: (sample) => sample.queued,
    level: (sample) => (sample.queued > 0 ? 'warn' : 'ok'),
  },
  {
    label: 'Memory',
    value: (sample) => (sample.memory_percent === null ? '–' : `${sample.memory_percent.toFixed(1)} %`),
    note: memoryNote,
    reading: (sample) => sample.memory_percent,
    ceiling: () => 100,
    level: (sample) => (sample.memory_level === 'ok' ? 'ok' : 'bad'),
  },
  {
    label: 'Slabs in use',
    value: (sample) => number(sample.slabs_leased),
    note: (sample, limits) =>
      `${limits === null ? '' : `of ${number(limits.slabs_total)}`}${
        sample.slab_waiting > 0 ? `, ${number(sample.slab_waiting)} wait` : ''
      }`,
    reading: (sample) => sample.slabs_leased,
    ceiling: (limits) => limits?.slabs_total,
    level: (sample) => (sample.slab_waiting > 0 ? 'warn' : 'ok'),
  },
  {
    label: 'Event loop delay',
    value: (sample) => milliseconds(sample.loop_delay_ms),
    note: () => 'longest',
    reading: (sample) => sample.loop_delay_ms,
    level: (sample) => (sample.loop_delay_ms >= 250 ? 'bad' : sample.loop_delay_ms >= 50 ? 'warn' : 'ok'),
  },
  {
    label: 'Chunk time p50',
    value: (sample) => time(sample.chunk_p50_ms),
    note: () => 'half are faster',
    reading: (sample) => sample.chunk_p50_ms,
  },
  {
    label: 'Chunk time p99',
    value: (sample) => time(sample.chunk_p99_ms),
    note: () => '1 of 100 is slower',
    reading: (sample) => sample.chunk_p99_ms,
  },
]

function memoryNote(sample: Sample, limits: Limits | null): string {
  if (sample.memory_percent === null) return "can't be measured"
  if (sample.memory_level === 'error') return "can't be measured: refusing"
  if (sample.memory_level === 'high') return 'high: refusing new ones'
  const own = sample.rss_bytes === null ? '' : `${bytes(sample.rss_bytes)} ours, `
  return limits === null ? own : `${own}limit ${limits.max_memory_percent} %`
}

/** Points of a polyline over the window; the newest at the right edge. */
export function sparkline(
  points: readonly { at: number; value: number | null }[],
  window: number,
  ceiling: number | undefined,
): string {
  const newest = points.at(-1)
  if (newest === undefined) return ''
  const highest = ceiling ?? points.reduce((most, { value }) => Math.max(most, value ?? 0), 0)
  const words: string[] = []
  for (const { at, value } of points) {
    if (value === null) continue
    const x = WIDTH * (1 - (newest.at - at) / window)
    const height = highest > 0 ? Math.min(1, value / highest) : 0
    words.push(`${x.toFixed(1)},${(HEIGHT - 1.5 - height * (HEIGHT - 3)).toFixed(1)}`)
  }
  return words.join(' ')
}

export class Tiles {
  readonly element = el('ul', { class: 'tiles' })
  readonly #views = TILES.map((tile) => {
    const value = el('strong', { class: 'tile-value' }, '–')
    const note = el('span', { class: 'tile-note' })
    const line = svg('polyline')
    const picture = svg(
      'svg',
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      line,
    )
    const item = el(
      'li',
      { class: 'tile' },
      el('span', { class: 'tile-label' }, tile.label),
      value,
      note,
      picture,
    )
    this.element.append(item)
    return { tile, item, value, note, line }
  })

  render(series: Series, limits: Limits | null): void {
    const sample = series.now()
    if (sample === undefined) return
    const samples = series.window(WINDOW_S)
    for (const { tile, item, value, note, line } of this.#views) {
      say(value, tile.value(sample, limits))
      say(note, tile.note(sample, limits))
      mark(item, 'data-level', tile.level?.(sample, limits) ?? 'ok')
      const points = samples.map((each) => ({ at: each.at, value: tile.reading(each) }))
      mark(line, 'points', sparkline(points, WINDOW_S, tile.ceiling?.(limits)))
    }
  }
}
