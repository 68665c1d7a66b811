/** Which uploads the table shows, and in which order. */

import { WORDS } from './causes.ts'
import type { Row } from './messages.ts'

export type SortKey =
  | 'created_at'
  | 'owner'
  | 'filename'
  | 'size'
  | 'progress'
  | 'bytes_per_second'
  | 'retries'
  | 'cause'

export interface View {
  sort: SortKey
  descending: boolean
  /** Words that all have to occur in name, owner, destination, id or problem. */
  text: string
  /** A state of uploads, `waiting` (in the queue), `problem` (held up by one), or empty for all. */
  state: string
}

export const BEGIN: View = { sort: 'created_at', descending: true, text: '', state: '' }

/** Where numbers are more interesting from the top, the first click on a column's head sorts downwards. */
export const startsDescending = (key: SortKey): boolean =>
  key !== 'owner' && key !== 'filename' && key !== 'cause'

/** 0 to 1; an empty file has come as a whole when it has ended, and of one whose size nobody knows there is no share. */
export const share = (part: number, whole: number | null): number =>
  whole !== null && whole > 0 ? Math.min(1, Math.max(0, part / whole)) : 0

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

const ORDERS: Record<SortKey, (a: Row, b: Row) => number> = {
  created_at: (a, b) => a.created_at - b.created_at,
  owner: (a, b) => collator.compare(a.owner, b.owner),
  filename: (a, b) => collator.compare(a.filename, b.filename),
  size: (a, b) => (a.size ?? -1) - (b.size ?? -1),
  progress: (a, b) =>
    share(a.stored, a.size) + share(a.received, a.size) - share(b.stored, b.size) - share(b.received, b.size),
  bytes_per_second: (a, b) => a.bytes_per_second - b.bytes_per_second,
  retries: (a, b) => a.retries - b.retries,
  cause: (a, b) =>
    Number(a.slowness === null) - Number(b.slowness === null) ||
    collator.compare(causeLabel(a), causeLabel(b)),
}

const causeLabel = (row: Row): string => (row.slowness === null ? '' : WORDS[row.slowness].label)

export function matches(row: Row, view: View): boolean {
  if (view.state === 'waiting' && row.queue_position === null) return false
  if (view.state === 'problem' && row.problem === null) return false
  if (!['', 'waiting', 'problem', row.state].includes(view.state)) return false
  const text =
    `${row.filename}\n${row.owner}\n${row.destination}\n${row.id}\n${row.problem ?? ''}`.toLowerCase()
  return view.text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word))
}

/** The rows that match, sorted; equals stand in the order of their ids, so that they never change places. */
export function arranged(rows: Iterable<Row>, view: View): Row[] {
  const order = ORDERS[view.sort]
  const sign = view.descending ? -1 : 1
  return [...rows]
    .filter((row) => matches(row, view))
    .sort((a, b) => sign * order(a, b) || (a.id < b.id ? -1 : 1))
}
