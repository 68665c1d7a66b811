/** What the page knows: everything the stream has said, nothing of the document. */

import { SteadyCause } from './causes.ts'
import type { Cause, Destinations, Incident, Limits, Messages, Row } from './messages.ts'
import { Series } from './series.ts'

const KEPT_INCIDENTS = 200

export class Model {
  readonly series = new Series()
  readonly rows = new Map<string, Row>()
  limits: Limits | null = null
  destinations: Destinations = {}
  /** Newest first. */
  incidents: Incident[] = []
  cause: Cause | null = null
  /** The server's clock less ours, in seconds. */
  clockOffset = 0
  readonly #steady = new SteadyCause()

  /** Each stream begins with `history`, and then says everything that is so: what was known before goes. */
  readonly listeners: { [K in keyof Messages]: (message: Messages[K]) => void } = {
    history: (history) => {
      this.series.merge(history)
      this.rows.clear()
      this.incidents = []
    },
    sample: (sample) => {
      this.clockOffset = sample.at - Date.now() / 1000
      this.series.add(sample)
      this.cause = this.#steady.next(sample.slowness)
    },
    limits: (limits) => {
      this.limits = limits
    },
    destinations: (destinations) => {
      this.destinations = destinations
    },
    uploads: ({ rows, gone }) => {
      for (const row of rows) this.rows.set(row.id, row)
      for (const id of gone) this.rows.delete(id)
    },
    incidents: ({ incidents }) => {
      this.incidents = mergeIncidents(this.incidents, incidents)
    },
  }

  /** The server's time now, in seconds since the epoch. */
  now(): number {
    return Date.now() / 1000 + this.clockOffset
  }
}

/** What is known and what is new, newest first; a repeat comes again with its id and a higher count. */
export function mergeIncidents(known: readonly Incident[], news: readonly Incident[]): Incident[] {
  const byId = new Map(known.map((incident) => [incident.id, incident]))
  for (const incident of news) byId.set(incident.id, incident)
  return [...byId.values()].sort((a, b) => b.at - a.at || b.id - a.id).slice(0, KEPT_INCIDENTS)
}
