/** A checksum, short, and a button that copies all of it. */

import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { announce } from '../shared/announcer.ts'
import { Icon } from '../shared/icons.tsx'

const THANKS_MS = 2000

export function Checksum({ sha256, of }: { sha256: string; of: string }): JSX.Element {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), THANKS_MS)
    return () => clearTimeout(timer)
  }, [copied])

  const copy = async (): Promise<void> => {
    await toClipboard(sha256)
    setCopied(true)
    announce('The checksum was copied.')
  }
  return (
    <span class="checksum">
      <span class="dim">SHA-256</span>
      <code title={sha256}>{sha256.slice(0, 12)}…</code>
      <button
        type="button"
        class="icon-button tiny"
        aria-label={`Copy the SHA-256 of ${of}`}
        title="Copy the whole checksum"
        onClick={copy}
      >
        <Icon name={copied ? 'check' : 'copy'} />
      </button>
    </span>
  )
}

async function toClipboard(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text)
    return
  }
  const field = document.createElement('textarea') // plain HTTP: the old way
  field.value = text
  document.body.append(field)
  field.select()
  document.execCommand('copy')
  field.remove()
}
