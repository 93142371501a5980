// The server's secret. A key is known by its HMAC under it and by nothing else: what is stored, sent
// and compared tells nothing about the key to whoever does not have the secret.
import { createHmac, createSecretKey, hash, timingSafeEqual } from 'node:crypto'
import { createRecent } from '@penstock/shared/recent'

export interface ServerSecret {
  /** HMAC-SHA-256 of the text: 32 bytes. */
  digestOf(text: string): Buffer
  /** Of two digests, in a time that does not depend on how far they are equal. */
  isSame(digest: Buffer, other: Buffer): boolean
  /** Tells whether two gateways have the same secret: HMAC of a fixed text, in hex. */
  readonly fingerprint: string
}

/** No key: keys begin with `sk-`. */
const fingerprinted = 'penstock secret fingerprint'
/** Digests that are kept, of right keys and of wrong ones. */
const maxKept = 2_000

export function createSecret(text: string): ServerSecret {
  const secret = createSecretKey(text, 'utf8')
  // An HMAC takes an object of OpenSSL's, whose making and collecting cost a busy gateway a twentieth of
  // its time. What finds it again is a plain hash: no key is kept, nor compared letter by letter.
  const kept = createRecent<Buffer>(maxKept)
  const digestOf = (value: string) => {
    const mark = hash('sha256', value)
    const known = kept.get(mark)
    if (known !== undefined) return known
    const digest = createHmac('sha256', secret).update(value).digest()
    kept.set(mark, digest)
    return digest
  }
  return {
    digestOf,
    isSame: (digest, other) => timingSafeEqual(digest, other),
    fingerprint: digestOf(fingerprinted).toString('hex'),
  }
}
