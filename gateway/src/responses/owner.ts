// Whose a response is: the key's that made it, and nobody else's, not even the master key's.
import type { Identity } from '../auth.ts'

export function ownerOf({ caller }: Identity): string {
  return caller.keyId ?? ''
}
