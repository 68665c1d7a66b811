/** The file as its chunks: missing, on the way, received. A canvas, so that ten thousand cost as little as ten. */

import { CHUNK_IN_FLIGHT, CHUNK_MISSING, type ChunkMap as Chunks } from '@forebay/client'
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { onThemeChange } from '../shared/theme.ts'

const GAP_FROM_PX = 4 // chunks narrower than this touch each other

export interface ChunkMapProps {
  chunks: Chunks | null
  /** Whether chunks are on the way at all; what was when it stopped is not any more. */
  moving: boolean
}

export function ChunkMap({ chunks, moving }: ChunkMapProps): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [width, setWidth] = useState(0)
  const [theme, setTheme] = useState(0)

  useEffect(() => onThemeChange(() => setTheme((before) => before + 1)), [])
  useEffect(() => {
    const element = canvas.current
    if (element === null) return
    const observer = new ResizeObserver(() => setWidth(element.clientWidth))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    if (canvas.current !== null && width > 0) draw(canvas.current, chunks, moving)
  }, [chunks, moving, width, theme])

  return <canvas ref={canvas} class="chunk-map" role="img" aria-label={describe(chunks, moving)} />
}

function describe(chunks: Chunks | null, moving: boolean): string {
  if (chunks === null) return 'Chunks: not known yet'
  let received = 0
  let flying = 0
  for (const state of chunks.states) {
    if (state === CHUNK_IN_FLIGHT) flying += 1
    else if (state !== CHUNK_MISSING) received += 1
  }
  return `Chunks: ${received} of ${chunks.count} received${moving ? `, ${flying} on the way` : ''}`
}

function draw(canvas: HTMLCanvasElement, chunks: Chunks | null, moving: boolean): void {
  const context = canvas.getContext('2d')
  if (context === null) return
  const scale = devicePixelRatio
  const width = Math.round(canvas.clientWidth * scale)
  const height = Math.round(canvas.clientHeight * scale)
  if (canvas.width !== width) canvas.width = width
  if (canvas.height !== height) canvas.height = height
  const style = getComputedStyle(canvas)
  const colour = (name: string): string => style.getPropertyValue(name)
  const missing = colour('--fb-surface-2')
  const colours = [missing, moving ? colour('--fb-flight') : missing, colour('--fb-accent')]
  context.fillStyle = missing
  context.fillRect(0, 0, width, height)
  if (chunks === null || chunks.count === 0) return
  const cell = width / chunks.count
  const gap = cell >= GAP_FROM_PX * scale ? Math.max(1, Math.round(scale)) : 0
  if (gap > 0) context.clearRect(0, 0, width, height)
  for (let first = 0; first < chunks.count; ) {
    const state = chunks.states[first] ?? CHUNK_MISSING
    let end = first + 1
    while (gap === 0 && end < chunks.count && chunks.states[end] === state) end += 1 // a run is one rectangle
    const from = Math.round(first * cell)
    const to = Math.round(end * cell)
    if (gap > 0 || state !== CHUNK_MISSING) {
      context.fillStyle = colours[state] ?? ''
      context.fillRect(from, 0, Math.max(1, to - from - gap), height)
    }
    first = end
  }
}
