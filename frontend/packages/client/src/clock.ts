/** Waiting that can be ended early. */

/**
 * Resolves after `ms`, or as soon as `wake` is called with what `begin` was given; rejects with the signal's reason.
 * `ms` null: only waking and aborting end it.
 */
export function sleep(
  ms: number | null,
  signal: AbortSignal,
  begin?: (wake: () => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const end = (settle: () => void) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', aborted)
      settle()
    }
    const aborted = () => end(() => reject(signal.reason))
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', aborted, { once: true })
    if (ms !== null) timer = setTimeout(() => end(resolve), ms)
    begin?.(() => end(resolve))
  })
}

/** What the machine says about its network: false: offline, true: online or not known to be offline, null: it can't say. */
export function onLine(): boolean | null {
  const known = (globalThis.navigator as { onLine?: boolean } | undefined)?.onLine
  return typeof known === 'boolean' ? known : null
}

/** Call `listener` whenever the machine says that the network came or went; gives what ends that. */
export function onNetworkChange(listener: (online: boolean) => void): () => void {
  const target = globalThis as unknown as Partial<EventTarget>
  if (target.addEventListener === undefined || onLine() === null) return () => {}
  const came = () => listener(true)
  const went = () => listener(false)
  target.addEventListener('online', came)
  target.addEventListener('offline', went)
  return () => {
    target.removeEventListener?.('online', came)
    target.removeEventListener?.('offline', went)
  }
}
