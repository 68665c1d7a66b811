/** Figures as people read them. Fixed numbers of digits, so that a figure that changes does not jump. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const
const NO_BREAK = '\u00a0'

/** Bytes in decimal units with three digits: `0 B`, `999 B`, `1.23 MB`, `45.6 GB`. */
export function bytes(count: number): string {
  let unit = 0
  let value = count
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${digits(value, unit)}${NO_BREAK}${UNITS[unit]}`
}

function digits(value: number, unit: number): string {
  if (unit === 0) return value.toFixed(0)
  if (value >= 99.95) return value.toFixed(0)
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

/** `1.2 of 4.5 GB`: both in the larger one's unit. */
export function bytesOf(part: number, whole: number | null): string {
  if (whole === null) return bytes(part)
  let unit = 0
  let value = whole
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  const places = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${(part / 1000 ** unit).toFixed(places)} of ${bytes(whole)}`
}

export function rate(bytesPerSecond: number): string {
  return `${bytes(bytesPerSecond)}/s`
}

/** A duration in two parts at most: `4 s`, `2 min 05 s`, `3 h 12 min`, `2 d 4 h`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.ceil(seconds))
  if (s < 60) return `${s}${NO_BREAK}s`
  if (s < 3600) return `${Math.floor(s / 60)}${NO_BREAK}min ${pad(s % 60)}${NO_BREAK}s`
  const minutes = Math.round(s / 60)
  if (minutes < 1440) return `${Math.floor(minutes / 60)}${NO_BREAK}h ${pad(minutes % 60)}${NO_BREAK}min`
  return `${Math.floor(minutes / 1440)}${NO_BREAK}d ${Math.floor((minutes % 1440) / 60)}${NO_BREAK}h`
}

function pad(value: number): string {
  return String(value).padStart(2, '0')
}

/** Whole percent, 100 only when it is all. */
export function percent(part: number, whole: number): number {
  if (whole <= 0) return 0
  return part >= whole ? 100 : Math.min(99, Math.floor((100 * part) / whole))
}

const TODAY = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const THIS_YEAR = new Intl.DateTimeFormat(undefined, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
})
const ANY_DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' })

/** A moment: the time of today, day and time of this year, else the day. */
export function moment(at: Date, now: Date = new Date()): string {
  if (at.toDateString() === now.toDateString()) return TODAY.format(at)
  return (at.getFullYear() === now.getFullYear() ? THIS_YEAR : ANY_DAY).format(at)
}

/** `one file`, `3 files`. */
export function count(number: number, one: string, many: string): string {
  return number === 1 ? `1 ${one}` : `${number.toLocaleString()} ${many}`
}
