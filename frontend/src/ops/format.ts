/** Figures that only the operations page shows; the others are in shared/format.ts. */

import { moment } from '../shared/format.ts'

const NO_BREAK = '\u00a0'

/** How many, or how many per second: whole where it is, else with a digit. */
export function number(value: number): string {
  if (Number.isInteger(value) || value >= 100) return Math.round(value).toLocaleString('en')
  return value.toFixed(1)
}

/** Of a share from 0 to 1; small ones with a digit. */
export function sharePercent(share: number): string {
  const value = share * 100
  return `${value === 0 || value >= 9.95 ? value.toFixed(0) : value.toFixed(1)}${NO_BREAK}%`
}

/** Milliseconds with three digits at most, from a second on in seconds. */
export function milliseconds(value: number): string {
  if (value >= 9995) return `${(value / 1000).toFixed(1)}${NO_BREAK}s`
  if (value >= 999.5) return `${(value / 1000).toFixed(2)}${NO_BREAK}s`
  return `${value >= 9.95 ? value.toFixed(0) : value.toFixed(1)}${NO_BREAK}ms`
}

const MINUTE = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })

/** The time of day to the minute, of seconds since the epoch. */
export function minuteOfDay(at: number): string {
  return MINUTE.format(at * 1000)
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' })

/** The time of day to the second, of seconds since the epoch. */
export function timeOfDay(at: number): string {
  return TIME.format(at * 1000)
}

/** When something happened: to the second where it was today, else with the day. */
export function whenHappened(at: number, now: Date = new Date()): string {
  const date = new Date(at * 1000)
  return date.toDateString() === now.toDateString() ? timeOfDay(at) : moment(date, now)
}
