/** Digests in the server's answers (RFC 9530: `sha-256=:…:, crc32c=:…:`). */

/** SHA-256 as lower-case hex, or null where there is none. */
export function sha256Of(field: string | null | undefined): string | null {
  const found = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):/.exec(field ?? '')
  if (found?.[1] === undefined) return null
  return Array.from(atob(found[1]), (char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('')
}
