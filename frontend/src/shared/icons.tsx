/** Icons: strokes on a grid of 24, in the colour of the text around them; decoration, so labels are said elsewhere. */

import type { JSX } from 'preact'

const PATHS = {
  upload: 'M12 16V4m0 0L7 9m5-5 5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3',
  folder: 'M3 7a2 2 0 0 1 2-2h4l2 2.5h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z',
  file: 'M14 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V8zm0 0v5h5',
  image: 'M4 5h16v14H4zm0 11 4.5-4.5 4 4 2.5-2.5 5 4M15.5 9.5h.01',
  video: 'M3 6h12v12H3zm12 4.5 6-3v9l-6-3z',
  audio: 'M9 18V6l10-2v12M9 18a3 3 0 1 1-6 0 3 3 0 0 1 6 0zm10-2a3 3 0 1 1-6 0 3 3 0 0 1 6 0z',
  archive: 'M5 3h14v18H5zm7 0v2m0 2v2m0 2v2m-1.5 2h3v3h-3z',
  text: 'M14 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V8zm0 0v5h5M9 13h6m-6 4h6',
  pause: 'M8 5v14M16 5v14',
  play: 'M7 4.5v15l12-7.5z',
  close: 'M6 6l12 12M18 6 6 18',
  retry: 'M20 11a8 8 0 1 0-.6 4M20 4v7h-7',
  download: 'M12 4v12m0 0 5-5m-5 5-5-5M4 20h16',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'M4.5 12.5l5 5L20 7',
  alert: 'M12 8.5v5m0 3h.01M12 3 2.5 20h19z',
  clock: 'M12 7v5l3.5 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z',
  sun: 'M12 7.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z',
  signOut: 'M14 4h5v16h-5M15 12H4m0 0 4-4m-4 4 4 4',
  offline: 'M3 3l18 18M8.5 15.5a5 5 0 0 1 7 0M5 12a10 10 0 0 1 4-2.4M19 12a10 10 0 0 0-5.5-2.8M12 19h.01',
  pulse: 'M3 12h4l3-8 4 16 3-8h4',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name, class: extra }: { name: IconName; class?: string }): JSX.Element {
  return (
    <svg class={`icon ${extra ?? ''}`} viewBox="0 0 24 24" aria-hidden="true">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  )
}

const BY_KIND: readonly [RegExp, IconName][] = [
  [/^image\//, 'image'],
  [/^video\//, 'video'],
  [/^audio\//, 'audio'],
  [/^text\/|pdf|json|xml|document/, 'text'],
  [/zip|tar|compressed|archive|x-7z|rar/, 'archive'],
]

/** The icon for a media type. */
export function iconOf(mediaType: string): IconName {
  return BY_KIND.find(([pattern]) => pattern.test(mediaType))?.[1] ?? 'file'
}
