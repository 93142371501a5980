// The server's secret. A key is known by its HMAC under it and by nothing else: what is stored, sent
// and compared tells nothing about the key to whoever does not have the secret.
import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'

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

export function createSecret(text: string): ServerSecret {
  const secret = createSecretKey(text, 'utf8')
  const digestOf = (value: string) => createHmac('sha256', secret).update(value).digest()
  return {
    digestOf,
    isSame: (digest, other) => timingSafeEqual(digest, other),
    fingerprint: digestOf(fingerprinted).toString('hex'),
  }
}
