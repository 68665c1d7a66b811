/** The six causes of slowness: what each is called, what it means, and what an operator can do about it. */

import type { Cause, Causes, Sample } from './messages.ts'

export const CAUSES: readonly Cause[] = ['client', 'queue', 'slab', 'disk', 'destination', 'backoff']

interface Words {
  label: string
  /** What an upload that is held up by it waits for. */
  waitsFor: string
  headline: string
  meaning: string
  advice: string
}

export const WORDS: Record<Cause, Words> = {
  client: {
    label: 'Client',
    waitsFor: 'bytes from its client',
    headline: 'The clients send more slowly than this server takes',
    meaning: 'The server is ready and waits for bytes from the network.',
    advice:
      'Nothing is wrong here: it is their line, or their disk. On a long line more chunks at once help ' +
      '(PARALLEL_UPLOAD_MAX_CONCURRENT_CHUNKS).',
  },
  queue: {
    label: 'Queue',
    waitsFor: 'its turn in the queue',
    headline: 'Uploads wait for their turn',
    meaning: 'As many are under way as may be at once, here or at the destination.',
    advice:
      'Where memory and disk have room, raise PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS or ' +
      'PARALLEL_UPLOAD_MAX_CONCURRENT_USERS; otherwise they get in as others end. For a turn at the destination ' +
      'it is PARALLEL_UPLOAD_MAX_TRANSFERS.',
  },
  slab: {
    label: 'Buffers',
    waitsFor: 'a free buffer',
    headline: 'Uploads wait for a free buffer',
    meaning: 'The buffer pool is in use, or a destination has used up its share of it.',
    advice:
      'Raise PARALLEL_UPLOAD_BUFFER_POOL_MB, with PARALLEL_UPLOAD_WORKER_THREADS where there are cores. ' +
      'Look at the disk first: a slow one keeps buffers busy.',
  },
  disk: {
    label: 'Disk',
    waitsFor: 'the disk',
    headline: 'The disk writes more slowly than bytes come',
    meaning:
      'Bytes wait to be written, synced or read: by the spool, or by a destination that is a directory.',
    advice:
      'Look at what else uses the disk under FOREBAY_DATA_DIR, or move that to a faster one. ' +
      'PARALLEL_UPLOAD_DURABILITY=power waits for the disk at every chunk; process does not.',
  },
  destination: {
    label: 'Destination',
    waitsFor: 'the destination',
    headline: 'The destination takes bytes more slowly than they come',
    meaning: 'Bytes were sent to it and its answer is awaited.',
    advice:
      'It is the line to it, or the destination itself. More files at once may help ' +
      '(PARALLEL_UPLOAD_MAX_TRANSFERS); the spool keeps what waits.',
  },
  backoff: {
    label: 'Backoff',
    waitsFor: 'the next attempt',
    headline: 'A destination failed, and is left alone before the next attempt',
    meaning: 'Nothing is sent while it is left alone; what was received is kept.',
    advice: 'The destination says below what it needs. Uploads go on by themselves when it answers again.',
  },
}

export const total = (causes: Causes): number => CAUSES.reduce((sum, cause) => sum + causes[cause], 0)

/** The mean over samples: seconds of waiting per second. All zero where there is none. */
export function meanCauses(samples: readonly Sample[]): Causes {
  const sums: Causes = { client: 0, queue: 0, slab: 0, disk: 0, destination: 0, backoff: 0 }
  for (const sample of samples) {
    for (const cause of CAUSES) sums[cause] += sample.causes[cause] / samples.length
  }
  return sums
}

/** Shares of 1 in the causes' order; all zero where nothing waits. */
export function shares(causes: Causes): { cause: Cause; share: number }[] {
  const whole = total(causes)
  return CAUSES.map((cause) => ({ cause, share: whole > 0 ? causes[cause] / whole : 0 }))
}

/** The same in words, the largest first: "Client 60 %, Disk 40 %". */
export function sharesInWords(causes: Causes): string {
  const words = shares(causes)
    .filter(({ share }) => share >= 0.005)
    .sort((a, b) => b.share - a.share)
    .map(({ cause, share }) => `${WORDS[cause].label} ${Math.round(share * 100)} %`)
  return words.length > 0 ? words.join(', ') : 'nothing waits'
}

/**
 * The cause that is shown: the server's newest word, once it has said so twice in succession.
 *
 * A cause that changes with every sample could not be read.
 */
export class SteadyCause {
  #shown: Cause | null = null
  #candidate: Cause | null = null

  /** Take the server's newest word; returns what to show. */
  next(said: Cause | null): Cause | null {
    if (said === this.#candidate) this.#shown = said
    this.#candidate = said
    return this.#shown
  }
}
