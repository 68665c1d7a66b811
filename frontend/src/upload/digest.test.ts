import { expect, it } from 'vitest'
import { sha256Of } from './digest.ts'

it('finds SHA-256 among the digests of an answer', () => {
  const empty = '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
  const hex = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
  expect(sha256Of(`sha-256=:${empty}:, crc32c=:AAAAAA==:`)).toBe(hex)
  expect(sha256Of(`crc32c=:AAAAAA==:, sha-256=:${empty}:`)).toBe(hex)
  expect(sha256Of('crc32c=:AAAAAA==:')).toBeNull()
  expect(sha256Of(null)).toBeNull()
})
