/** One bar, two tones: what the server has received, and of it what is at the destination. */

import type { JSX } from 'preact'

export interface BarProps {
  /** Shares, 0 to 1. */
  received: number
  stored: number
  label: string
  /** What a screen reader says of it. */
  spoken: string
}

export function Bar({ received, stored, label, spoken }: BarProps): JSX.Element {
  return (
    <div
      class="bar"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(((received + stored) / 2) * 100)}
      aria-valuetext={spoken}
    >
      <div class="bar-received" style={{ transform: `scaleX(${received.toFixed(4)})` }} />
      <div class="bar-stored" style={{ transform: `scaleX(${stored.toFixed(4)})` }} />
    </div>
  )
}
