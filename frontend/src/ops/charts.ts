/** The charts of the last hour: uPlot draws, one crosshair for all, and each says in numbers what it shows. */

import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { rate } from '../shared/format.ts'
import { CAUSES, WORDS } from './causes.ts'
import { el, mark, say, style } from './dom.ts'
import { milliseconds, minuteOfDay, number, sharePercent, timeOfDay } from './format.ts'
import { InView } from './in-view.ts'
import type { Cause, Limits, Sample } from './messages.ts'
import { bounds, columns, type Series } from './series.ts'

const HEIGHT = 150

interface Line {
  label: string
  /** Name of a custom property with its colour. */
  color: string
  reading(sample: Sample, limits: Limits | null): number | null
  dashed?: boolean
  /** A limit is drawn and told, but has no least and most. */
  limit?: boolean
  cause?: Cause
}

interface Chart {
  title: string
  unit(value: number): string
  lines: readonly Line[]
  /** Areas upon one another; `lines` from the bottom up. */
  stacked?: boolean
  /** The least that the top of the axis stands for. */
  atLeast: number
}

const CHARTS: readonly Chart[] = [
  {
    title: 'Bytes',
    unit: rate,
    atLeast: 1000,
    lines: [
      { label: 'In', color: '--ops-line-1', reading: (sample) => sample.bytes_in },
      { label: 'Out', color: '--ops-line-2', reading: (sample) => sample.bytes_out },
    ],
  },
  {
    title: 'How many wait at once, by cause',
    unit: number,
    atLeast: 1,
    stacked: true,
    lines: CAUSES.map((cause) => ({
      label: WORDS[cause].label,
      color: `--ops-cause-${cause}`,
      reading: (sample) => sample.causes[cause],
      cause,
    })),
  },
  {
    title: 'Uploads and users',
    unit: number,
    atLeast: 4,
    lines: [
      { label: 'Active uploads', color: '--ops-line-1', reading: (sample) => sample.active_uploads },
      { label: 'In the queue', color: '--ops-line-2', reading: (sample) => sample.queued },
      {
        label: 'Active users',
        color: '--ops-line-3',
        reading: (sample) => sample.active_users,
        dashed: true,
      },
    ],
  },
  {
    title: 'Chunk time',
    unit: milliseconds,
    atLeast: 10,
    lines: [
      { label: 'p50', color: '--ops-line-1', reading: (sample) => sample.chunk_p50_ms },
      { label: 'p99', color: '--ops-line-2', reading: (sample) => sample.chunk_p99_ms },
    ],
  },
  {
    title: 'Chunks',
    unit: (value) => `${number(value)}/s`,
    atLeast: 1,
    lines: [{ label: 'Stored', color: '--ops-line-1', reading: (sample) => sample.chunks }],
  },
  {
    title: 'Error rate',
    unit: sharePercent,
    atLeast: 0.01,
    lines: [{ label: 'Of chunks', color: '--ops-line-2', reading: (sample) => sample.error_rate }],
  },
  {
    title: 'Memory',
    unit: (value) => `${value.toFixed(0)} %`,
    atLeast: 100,
    lines: [
      { label: 'In use', color: '--ops-line-1', reading: (sample) => sample.memory_percent },
      {
        label: 'Limit',
        color: '--ops-line-2',
        reading: (_, limits) => limits?.max_memory_percent ?? null,
        dashed: true,
        limit: true,
      },
    ],
  },
  {
    title: 'Slabs of the buffer pool',
    unit: number,
    atLeast: 4,
    lines: [
      { label: 'In use', color: '--ops-line-1', reading: (sample) => sample.slabs_leased },
      { label: 'Waited for', color: '--ops-line-2', reading: (sample) => sample.slab_waiting },
      {
        label: 'All',
        color: '--ops-line-3',
        reading: (_, limits) => limits?.slabs_total ?? null,
        dashed: true,
        limit: true,
      },
    ],
  },
  {
    title: 'Event loop delay',
    unit: milliseconds,
    atLeast: 10,
    lines: [{ label: 'Longest', color: '--ops-line-1', reading: (sample) => sample.loop_delay_ms }],
  },
]

/** A chart's figure: title, canvas, and the table that says the same in numbers. */
class Panel {
  readonly element: HTMLElement
  readonly #chart: Chart
  readonly #canvas = el('div', { class: 'chart-canvas', 'aria-hidden': 'true' })
  readonly #cells: { now: HTMLElement; min: HTMLElement; max: HTMLElement }[] = []
  readonly #newest = el('th', { scope: 'col', class: 'chart-now' }, 'now')
  #plot: uPlot | null = null
  #shown: (number | null)[][] = []
  #times: number[] = []
  #range = 300
  #taken: { series: Series; range: number; limits: Limits | null } | null = null

  constructor(chart: Chart) {
    this.#chart = chart
    const rows = chart.lines.map((line) => {
      const cells = { now: el('td', { class: 'chart-now' }), min: el('td'), max: el('td') }
      this.#cells.push(cells)
      const swatch = el('span', { class: line.dashed ? 'swatch swatch-dashed' : 'swatch' })
      style(swatch, '--swatch', `var(${line.color})`)
      if (line.cause) mark(swatch, 'data-cause', line.cause)
      return el('tr', {}, el('th', { scope: 'row' }, swatch, line.label), cells.now, cells.min, cells.max)
    })
    const head = el(
      'tr',
      {},
      el('th', { scope: 'col' }, el('span', { class: 'visually-hidden' }, 'Line')),
      this.#newest,
      el('th', { scope: 'col' }, 'min'),
      el('th', { scope: 'col' }, 'max'),
    )
    const table = el('table', { class: 'chart-numbers' }, el('thead', {}, head), el('tbody', {}, ...rows))
    table.setAttribute('aria-label', chart.title)
    this.element = el(
      'figure',
      { class: 'panel chart' },
      el('figcaption', {}, chart.title),
      this.#canvas,
      table,
    )
  }

  build(): void {
    this.#plot?.destroy()
    const css = getComputedStyle(document.documentElement)
    const color = (name: string): string => css.getPropertyValue(name).trim()
    const grid = { stroke: color('--ops-grid'), width: 1 }
    const axis = {
      stroke: color('--fb-text-dim'),
      grid,
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
    }
    const { stacked, unit, atLeast } = this.#chart
    this.#plot = new uPlot(
      {
        width: this.#canvas.clientWidth || 320,
        height: HEIGHT,
        padding: [8, 24, 0, 0],
        legend: { show: false },
        cursor: {
          sync: { key: 'ops', setSeries: false },
          drag: { x: false, y: false },
          points: { size: 6 },
          y: false,
        },
        scales: {
          x: { time: true, range: () => this.#bounds() },
          y: { range: (_plot, _min, max) => [0, Math.max(atLeast, (max ?? 0) * 1.08)] },
        },
        axes: [
          { ...axis, space: 64, size: 24, values: (_plot, splits) => splits.map(minuteOfDay) },
          {
            ...axis,
            size: 66,
            space: 30,
            values: (_plot, splits) => splits.map((value) => (value === 0 ? '0' : unit(value))),
          },
        ],
        series: [
          {},
          ...this.#drawn().map((line): uPlot.Series => {
            const stroke = color(line.color)
            return {
              label: line.label,
              stroke,
              width: stacked ? 1 : 1.5,
              points: { show: false },
              spanGaps: false,
              ...(line.dashed ? { dash: [5, 4] } : {}),
              ...(stacked && line.cause
                ? { fill: pattern(line.cause, stroke, color('--fb-surface')) }
                : line.dashed
                  ? {}
                  : { fill: `color-mix(in srgb, ${stroke} 12%, transparent)` }),
            }
          }),
        ],
        hooks: { setCursor: [(plot) => this.#tell(plot.cursor.idx ?? null)] },
      },
      this.#data(),
      this.#canvas,
    )
  }

  /** What is to be shown with the next `draw`. */
  take(series: Series, range: number, limits: Limits | null): void {
    this.#taken = { series, range, limits }
  }

  draw(): void {
    if (this.#taken === null) return
    const { series, range, limits } = this.#taken
    const [times, ...values] = columns(
      series.window(range),
      this.#chart.lines.map((line) => (sample: Sample) => line.reading(sample, limits)),
      series.step,
    )
    this.#times = times
    this.#shown = values
    this.#range = range
    this.#plot?.setData(this.#data())
    this.#tell(this.#plot?.cursor.idx ?? null)
  }

  close(): void {
    this.#plot?.destroy()
    this.#plot = null
  }

  fit(): void {
    const width = this.#canvas.clientWidth
    if (this.#plot !== null && width > 0 && width !== this.#plot.width)
      this.#plot.setSize({ width, height: HEIGHT })
  }

  #bounds(): [number, number] {
    const newest = this.#times.at(-1) ?? Date.now() / 1000
    return [newest - this.#range, newest]
  }

  /** Stacked areas are drawn from the highest sum down, each over the one before. */
  #drawn(): Line[] {
    return this.#chart.stacked ? [...this.#chart.lines].reverse() : [...this.#chart.lines]
  }

  #data(): uPlot.AlignedData {
    const { lines, stacked } = this.#chart
    const values = lines.map((_, index) => this.#shown[index] ?? [])
    if (!stacked) return [this.#times, ...values]
    const sums: (number | null)[][] = []
    for (const column of values) {
      const below = sums.at(-1)
      sums.push(column.map((value, index) => (value === null ? null : value + (below?.[index] ?? 0))))
    }
    return [this.#times, ...sums.reverse()]
  }

  /** The numbers under the chart: at the crosshair where there is one, else the newest. */
  #tell(at: number | null): void {
    const time = at === null ? undefined : this.#times[at]
    say(this.#newest, time === undefined ? 'now' : timeOfDay(time))
    this.#chart.lines.forEach((line, index) => {
      const cells = this.#cells[index]
      const column = this.#shown[index] ?? []
      if (cells === undefined) return
      const found = bounds(column)
      const told = (value: number | null | undefined): string =>
        value === null || value === undefined ? '–' : this.#chart.unit(value)
      say(cells.now, told(time === undefined ? found?.now : column[at ?? 0]))
      say(cells.min, line.limit ? '' : told(found?.min))
      say(cells.max, line.limit ? '' : told(found?.max))
    })
  }
}

/** What tells the causes apart where colours don't: the same strokes as in ops.css. */
function pattern(cause: Cause, color: string, ground: string): CanvasPattern | string {
  const tile = document.createElement('canvas')
  const size = 8
  tile.width = size
  tile.height = size
  const draw = tile.getContext('2d')
  if (draw === null) return color
  draw.fillStyle = color
  draw.fillRect(0, 0, size, size)
  draw.strokeStyle = ground
  draw.globalAlpha = 0.55
  draw.lineWidth = 1.5
  const lines: Record<Cause, [number, number, number, number][]> = {
    client: [],
    queue: [
      [-2, 10, 10, -2],
      [-2, 2, 2, -2],
      [6, 10, 10, 6],
    ],
    slab: [[0, 4, size, 4]],
    disk: [[4, 0, 4, size]],
    destination: [
      [-2, -2, 10, 10],
      [-2, 6, 2, 10],
      [6, -2, 10, 2],
    ],
    backoff: [
      [0, 4, size, 4],
      [4, 0, 4, size],
    ],
  }
  for (const [x1, y1, x2, y2] of lines[cause]) {
    draw.beginPath()
    draw.moveTo(x1, y1)
    draw.lineTo(x2, y2)
    draw.stroke()
  }
  return draw.createPattern(tile, 'repeat') ?? color
}

export const RANGES = [
  { seconds: 300, label: '5 min' },
  { seconds: 900, label: '15 min' },
  { seconds: 3600, label: '1 h' },
] as const

export class Charts {
  readonly element: HTMLElement
  readonly #panels = CHARTS.map((chart) => new Panel(chart))
  readonly #inView = new InView((element) => this.#panels.find((panel) => panel.element === element)?.draw())
  /** Of those out of view, whose turn it is: their numbers are for screen readers. */
  #turn = 0
  #range: number = 300

  /** `onRange` is called when another range was chosen. */
  constructor(onRange: () => void) {
    for (const panel of this.#panels) this.#inView.watch(panel.element)
    const choice = el(
      'fieldset',
      { class: 'ranges' },
      el('legend', { class: 'visually-hidden' }, 'Time shown'),
    )
    for (const { seconds: value, label } of RANGES) {
      const input = el('input', { type: 'radio', name: 'range', value: String(value) })
      input.checked = value === this.#range
      input.addEventListener('change', () => {
        this.#range = value
        onRange()
      })
      choice.append(el('label', {}, input, el('span', {}, label)))
    }
    this.element = el(
      'section',
      { 'aria-labelledby': 'charts-title' },
      el('div', { class: 'section-head' }, el('h2', { id: 'charts-title' }, 'History'), choice),
      el('div', { class: 'charts' }, ...this.#panels.map((panel) => panel.element)),
    )
  }

  /** Once it is in the document, and again when colours have changed. */
  build(): void {
    for (const panel of this.#panels) panel.build()
  }

  close(): void {
    for (const panel of this.#panels) panel.close()
  }

  watchSize(): void {
    new ResizeObserver(() => {
      for (const panel of this.#panels) panel.fit()
    }).observe(this.element)
  }

  render(series: Series, limits: Limits | null): void {
    this.#turn = (this.#turn + 1) % this.#panels.length
    for (const [index, panel] of this.#panels.entries()) {
      panel.take(series, this.#range, limits)
      if (index === this.#turn || this.#inView.has(panel.element)) panel.draw()
    }
  }
}
