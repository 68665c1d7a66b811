/** What a row says of a file: pure, from Uppy's file and the clock to words and shares. */

import type { ForebayFileState } from '@forebay/uppy'
import { bytes, bytesOf, count, duration, percent, rate } from '../shared/format.ts'

/** What of Uppy's file is looked at. */
export interface PageFile {
  id: string
  name: string
  size: number
  type: string
  folder: string
  isGhost: boolean
  isPaused: boolean
  error: string | null
  forebay: ForebayFileState | null
}

/** `here`: not begun yet, waits for its turn in this tab · `ghost`: its bytes have to be selected again. */
export type Phase =
  | 'here'
  | 'ghost'
  | 'creating'
  | 'queued'
  | 'uploading'
  | 'waiting'
  | 'paused'
  | 'offline'
  | 'storing'
  | 'completed'
  | 'failed'

export interface RowView {
  phase: Phase
  /** Shares of the file, 0 to 1: on the way or received, and at the destination. */
  received: number
  stored: number
  /** What is told under the bar; a refusal in the server's words. */
  sentence: string
  /** Bytes per second and time left; empty where there is nothing to say. */
  rate: string
  left: string
  /** For the bar: what a screen reader says of it. */
  spoken: string
}

export function phaseOf(file: PageFile): Phase {
  const state = file.forebay?.state
  if (state === 'completed') return 'completed'
  if (file.error !== null || state === 'failed') return 'failed'
  if (file.isGhost && state !== 'storing') return 'ghost'
  if (state === undefined || state === 'idle') return file.isPaused ? 'paused' : 'here'
  if (state === 'cancelled') return 'failed'
  if (state === 'storing' && file.forebay?.waiting) return 'waiting' // the destination is in trouble
  return state
}

/** Whether something is still to come for it, by itself or when somebody does something. */
export function isUnfinished(phase: Phase): boolean {
  return phase !== 'completed' && phase !== 'failed'
}

/** Whether it sends, or will by itself: what a closed tab would interrupt. */
export function isSending(phase: Phase): boolean {
  return isUnfinished(phase) && phase !== 'storing' && phase !== 'ghost' && phase !== 'paused'
}

export function rowOf(file: PageFile, now: number): RowView {
  const phase = phaseOf(file)
  const known = file.forebay
  const done = phase === 'completed'
  const share = (part: number | undefined): number =>
    done ? 1 : file.size === 0 ? 0 : Math.min(1, (part ?? 0) / file.size)
  const onTheWay = phase === 'uploading' ? (known?.sent ?? 0) : 0
  const received = share(Math.max(onTheWay, known?.received ?? 0))
  const stored = share(known?.stored)
  const moving = phase === 'uploading' || phase === 'storing'
  const speed = moving ? (known?.rate ?? 0) : 0
  const left = moving ? (known?.secondsLeft ?? null) : null
  return {
    phase,
    received,
    stored,
    sentence: sentenceOf(phase, file, now),
    rate: speed > 0 ? rate(speed) : '',
    left: left !== null && speed > 0 ? `${duration(left)} left` : '',
    spoken: done
      ? 'Done'
      : `${percent(known?.received ?? 0, file.size)}% received, ${percent(known?.stored ?? 0, file.size)}% at the destination`,
  }
}

function sentenceOf(phase: Phase, file: PageFile, now: number): string {
  const known = file.forebay
  const received = known?.received ?? 0
  switch (phase) {
    case 'here':
      return `${bytes(file.size)}, waits for its turn`
    case 'ghost':
      return `${bytesOf(received, file.size)} received. Select the file again and it goes on from there.`
    case 'creating':
      return `${bytes(file.size)}, being announced…`
    case 'queued':
      return known?.queuePosition === null || known?.queuePosition === undefined
        ? 'The server is full. In its queue…'
        : `The server is full. Number ${known.queuePosition} in its queue.`
    case 'uploading':
      return bytesOf(known?.sent ?? received, file.size)
    case 'waiting':
      return waitOf(known, now)
    case 'paused':
      return `Paused at ${bytesOf(received, file.size)}`
    case 'offline':
      return `No connection. Goes on by itself, from ${bytesOf(received, file.size)}.`
    case 'storing':
      return `Received. ${bytesOf(known?.stored ?? 0, file.size)} at the destination`
    case 'completed':
      return `${bytes(file.size)}, at the destination`
    case 'failed':
      return known?.error?.detail ?? file.error ?? 'It was cancelled.'
  }
}

function waitOf(known: ForebayFileState | null, now: number): string {
  const waiting = known?.waiting ?? null
  if (waiting === null) return 'Trying again…'
  if (waiting.until === null) return waiting.reason
  const seconds = Math.ceil((waiting.until - now) / 1000)
  return `${waiting.reason} ${seconds > 0 ? `Trying again in ${duration(seconds)}.` : 'Trying again…'}`
}

/** All files together. */
export interface Total {
  files: number
  unfinished: number
  failed: number
  /** Failed, and their bytes are here. */
  repeatable: number
  completed: number
  paused: number
  /** To be selected again. */
  ghosts: number
  sending: number
  size: number
  received: number
  stored: number
  rate: number
  secondsLeft: number | null
}

export function totalOf(files: readonly PageFile[]): Total {
  const total: Total = {
    files: files.length,
    unfinished: 0,
    failed: 0,
    repeatable: 0,
    completed: 0,
    paused: 0,
    ghosts: 0,
    sending: 0,
    size: 0,
    received: 0,
    stored: 0,
    rate: 0,
    secondsLeft: null,
  }
  for (const file of files) {
    const phase = phaseOf(file)
    const known = file.forebay
    const done = phase === 'completed'
    if (isUnfinished(phase)) total.unfinished += 1
    if (isSending(phase)) total.sending += 1
    if (phase === 'failed') total.failed += 1
    if (phase === 'paused') total.paused += 1
    if (phase === 'ghost') total.ghosts += 1
    if (done) total.completed += 1
    if (phase === 'failed' && !file.isGhost) total.repeatable += 1
    if (phase === 'failed') continue
    total.size += file.size
    total.received += done ? file.size : Math.max(known?.sent ?? 0, known?.received ?? 0)
    total.stored += done ? file.size : (known?.stored ?? 0)
    if (phase === 'uploading') total.rate += known?.rate ?? 0
  }
  if (total.rate > 0) total.secondsLeft = (total.size - total.received) / total.rate
  return total
}

/** The headline over the list. */
export function headline(total: Total): string {
  if (total.unfinished === 0) {
    if (total.failed === 0) return `${count(total.completed, 'file', 'files')} uploaded`
    const uploaded = total.completed === 0 ? '' : `${count(total.completed, 'file', 'files')} uploaded, `
    return `${uploaded}${count(total.failed, 'file', 'files')} failed`
  }
  if (total.ghosts === total.unfinished) {
    return `${count(total.ghosts, 'file waits', 'files wait')} to be selected again`
  }
  if (total.sending === 0 && total.paused > 0)
    return `Paused: ${count(total.unfinished, 'file', 'files')} to go`
  return `Uploading ${count(total.unfinished, 'file', 'files')}`
}
