/** CRC32C (Castagnoli; RFC 3720 appendix B.4), sixteen bytes a step, and what goes into `Content-Digest` (RFC 9530). */

const POLYNOMIAL = 0x82f63b78 // reflected
const STEP = 16

/** `TABLES[k * 256 + byte]`: the byte's effect when k more bytes follow it. */
const TABLES = /* @__PURE__ */ (() => {
  const tables = new Int32Array(256 * STEP)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    tables[byte] = crc
  }
  for (let index = 256; index < tables.length; index++) {
    const before = tables[index - 256] as number
    tables[index] = (before >>> 8) ^ (tables[before & 255] as number)
  }
  return tables
})()

const LITTLE_ENDIAN = /* @__PURE__ */ new Uint8Array(new Uint32Array([1]).buffer)[0] === 1

/** The checksum of what came before (`crc`, 0 at the beginning) and `bytes` after it; unsigned. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const tables = TABLES
  let state = ~crc
  let at = 0
  const single = (until: number) => {
    for (; at < until; at++) {
      state = (state >>> 8) ^ (tables[(state ^ (bytes[at] as number)) & 255] as number)
    }
  }
  if (LITTLE_ENDIAN) {
    single(Math.min(bytes.length, -bytes.byteOffset & 3))
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (bytes.length - at) >>> 2)
    const whole = words.length & ~3
    for (let index = 0; index < whole; index += 4) {
      const a = (words[index] as number) ^ state
      const b = words[index + 1] as number
      const c = words[index + 2] as number
      const d = words[index + 3] as number
      state =
        (tables[3840 + (a & 255)] as number) ^
        (tables[3584 + ((a >>> 8) & 255)] as number) ^
        (tables[3328 + ((a >>> 16) & 255)] as number) ^
        (tables[3072 + (a >>> 24)] as number) ^
        (tables[2816 + (b & 255)] as number) ^
        (tables[2560 + ((b >>> 8) & 255)] as number) ^
        (tables[2304 + ((b >>> 16) & 255)] as number) ^
        (tables[2048 + (b >>> 24)] as number) ^
        (tables[1792 + (c & 255)] as number) ^
        (tables[1536 + ((c >>> 8) & 255)] as number) ^
        (tables[1280 + ((c >>> 16) & 255)] as number) ^
        (tables[1024 + (c >>> 24)] as number) ^
        (tables[768 + (d & 255)] as number) ^
        (tables[512 + ((d >>> 8) & 255)] as number) ^
        (tables[256 + ((d >>> 16) & 255)] as number) ^
        (tables[d >>> 24] as number)
    }
    at += whole * 4
  }
  single(bytes.length)
  return ~state >>> 0
}

/** GF(2) matrices as 32 columns: `times(matrix, vector)`. */
function times(matrix: Int32Array, vector: number): number {
  let sum = 0
  for (let bit = 0; vector !== 0; bit++, vector >>>= 1) if (vector & 1) sum ^= matrix[bit] as number
  return sum
}

/** The checksum of two pieces of which the second is `length` bytes long (zlib's `crc32_combine`). */
export function crc32cJoin(first: number, second: number, length: number): number {
  let matrix = new Int32Array(32) // of one zero bit
  matrix[0] = POLYNOMIAL
  for (let bit = 1; bit < 32; bit++) matrix[bit] = 1 << (bit - 1)
  let crc = first | 0
  let squarings = 3 // to eight zero bits: a byte
  for (let left = length; left > 0; squarings = 1) {
    for (; squarings > 0; squarings--) {
      const before: Int32Array = matrix
      matrix = before.map((column) => times(before, column))
    }
    if (left % 2 === 1) crc = times(matrix, crc)
    left = Math.floor(left / 2) // sizes have more than 32 bits
  }
  return (crc ^ second) >>> 0
}

/** The field's value, such as `crc32c=:4waSgw==:`. */
export function contentDigest(crc: number): string {
  const bytes = [crc >>> 24, (crc >>> 16) & 255, (crc >>> 8) & 255, crc & 255]
  return `crc32c=:${btoa(String.fromCharCode(...bytes))}:`
}

function decoded(digest: string | null, name: string): number[] | null {
  const found = new RegExp(`(?:^|[\\s,])${name}=:([A-Za-z0-9+/=]+):`).exec(digest ?? '')?.[1]
  return found === undefined ? null : [...atob(found)].map((char) => char.charCodeAt(0))
}

/** The CRC32C in a digest field; null where there is none. */
export function crc32cOf(digest: string | null): number | null {
  const bytes = decoded(digest, 'crc32c')
  return bytes?.length === 4 ? bytes.reduce((sum, byte) => (sum * 256 + byte) >>> 0, 0) : null
}

/** Lower-case hex of the SHA-256 in a digest field; null where there is none. */
export function sha256Of(digest: string | null): string | null {
  const bytes = decoded(digest, 'sha-256')
  return bytes?.length === 32 ? bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('') : null
}
