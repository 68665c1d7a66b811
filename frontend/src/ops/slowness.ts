/** "What slows things down now": the cause in plain words, what to do about it, and the shares of all six. */

import { CAUSES, meanCauses, total, WORDS } from './causes.ts'
import { el, mark, say } from './dom.ts'
import { number } from './format.ts'
import type { Cause, Causes, Limits, Sample } from './messages.ts'
import type { Model } from './model.ts'
import { causeLabel, ShareBar } from './share-bar.ts'

const WINDOW_S = 10

export class Slowness {
  readonly element: HTMLElement
  readonly #headline = el('p', { class: 'slowness-headline', role: 'status' })
  readonly #meaning = el('p')
  readonly #advice = el('p', { class: 'slowness-advice' })
  readonly #bar = new ShareBar('share-bar-large')
  readonly #values = CAUSES.map(() => el('dd'))

  constructor() {
    const legend = el('dl', { class: 'slowness-shares' })
    CAUSES.forEach((cause, index) => {
      legend.append(el('div', {}, el('dt', {}, causeLabel(cause)), this.#values[index] as HTMLElement))
    })
    this.element = el(
      'section',
      { class: 'panel slowness', 'aria-labelledby': 'slowness-title' },
      el('h2', { id: 'slowness-title' }, 'What slows things down now'),
      el('div', { class: 'slowness-words' }, this.#headline, this.#meaning, this.#advice),
      el('div', { class: 'slowness-picture' }, this.#bar.element, legend),
    )
  }

  render(model: Model): void {
    const causes = meanCauses(model.series.recent(WINDOW_S))
    const words = explain(model.cause, model)
    mark(this.element, 'data-cause-now', model.cause ?? 'none')
    say(this.#headline, words.headline)
    say(this.#meaning, words.meaning)
    say(this.#advice, words.advice)
    this.#bar.render(causes)
    this.#renderValues(causes)
  }

  #renderValues(causes: Causes): void {
    const whole = total(causes)
    CAUSES.forEach((cause, index) => {
      const value = this.#values[index]
      if (value === undefined) return
      const share = whole > 0 ? Math.round((causes[cause] / whole) * 100) : 0
      say(value, whole > 0 ? `${share} %` : '–')
    })
  }
}

/** The cause's words, with what is known of it at this moment. */
export function explain(
  cause: Cause | null,
  { series, limits, destinations }: Pick<Model, 'series' | 'limits' | 'destinations'>,
): { headline: string; meaning: string; advice: string } {
  const latest = series.latest
  if (cause === null) {
    const busy = (latest?.active_uploads ?? 0) > 0
    return {
      headline: busy ? 'Nothing: uploads move as fast as they come' : 'Nothing: no upload is under way',
      meaning: '',
      advice: '',
    }
  }
  const words = WORDS[cause]
  let meaning = words.meaning
  if (cause === 'queue' && latest !== undefined && limits !== null)
    meaning = queueNow(latest, limits, meaning)
  if (cause === 'slab' && latest !== undefined && limits !== null) meaning = buffersNow(latest, limits)
  let advice = words.advice
  if (cause === 'backoff') {
    const named = Object.entries(destinations).find(([, each]) => each.breaker === 'open' || each.parked > 0)
    if (named?.[1].sentence) {
      meaning = `${named[0]}: ${named[1].sentence}`
      advice = 'Uploads go on by themselves when it answers again.'
    }
  }
  return { headline: words.headline, meaning, advice }
}

function queueNow(latest: Sample, limits: Limits, otherwise: string): string {
  const wait = `${number(latest.queued)} in the queue`
  if (latest.active_uploads >= limits.max_uploads)
    return `${all(limits.max_uploads, 'slot', 'for uploads')}; ${wait}.`
  if (latest.active_users >= limits.max_users)
    return `${all(limits.max_users, 'place', 'for users')}; ${wait}.`
  return latest.queued > 0 ? `${otherwise} ${wait}.` : otherwise
}

const all = (limit: number, what: string, whose: string): string =>
  limit === 1 ? `The only ${what} ${whose} is taken` : `All ${number(limit)} ${what}s ${whose} are taken`

/** One is reserved for those for whom others wait; a destination has a share of the others for what is sent to it. */
function buffersNow(latest: Sample, limits: Limits): string {
  const used = `${number(latest.slabs_leased)} of ${number(limits.slabs_total)} slabs of the buffer pool are in use`
  if (latest.slabs_leased >= limits.slabs_total - 1) return `${used}.`
  return `${used}: a destination has used up its share for what is sent to it.`
}
