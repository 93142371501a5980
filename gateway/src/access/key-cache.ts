// What this gateway knows of virtual keys: asked of billing once per key, then remembered for a minute,
// and forgotten the moment that billing says anything about any key has changed.
//
// An answer is as old as the access version that it was read at. One that is older than the newest
// version heard of is used for those who waited for it, and not remembered.
import { listen } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import { ask } from '@penstock/shared/bus/request-reply'
import type { KeyFacts, KeyLookup } from '@penstock/shared/contracts/access'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { ServerSecret } from './secret.ts'

/** Found at once, or on its way; null: there is no such key. */
export type FoundKey = KeyFacts | null | Promise<KeyFacts | null>

export interface KeyCache {
  /**
   * @param secretHash the key's digest in hex
   * @throws PenstockError (the promise) `service_unavailable` where billing cannot be asked
   */
  find(secretHash: string): FoundKey
  /** What the key with this public id may do now, whatever its text is by now. Throws the same. */
  holder(keyId: string): FoundKey
  close(): void
}

export interface KeyCacheOptions {
  bus: Bus
  log: Logger
  secret: Pick<ServerSecret, 'fingerprint'>
  now?: () => number
  /** Remembered keys, and as many texts that are no key. */
  maxKeys?: number
}

interface Known {
  facts: KeyFacts
  freshUntil: number
}

/** No digest in hex begins with it. */
const idPrefix = 'id:'
const freshMs = 60_000
const unknownMs = 10_000
/** A remembered key goes on working for so long after that while billing is away. */
const graceMs = 5 * 60_000
/** How long whoever has a key that is not remembered waits for billing, and one who has. */
const patienceMs = 5_000
const stalePatienceMs = 1_000
const pauseMs = 250
/** After a question in vain remembered keys are not asked about again for so long. */
const restMs = 2_000
const complaintMs = 10_000
/** Questions on their way. Made-up keys must not pile up more. */
const maxLookUps = 500

export function createKeyCache(options: KeyCacheOptions): KeyCache {
  const { bus, log, now = Date.now, maxKeys = 10_000 } = options
  /** By digest or by id (`idPrefix`); the least lately used first, as below. */
  const known = new Map<string, Known>()
  /** Texts that are no key, until when that is remembered. */
  const strangers = new Map<string, number>()
  const lookUps = new Map<string, Promise<KeyFacts | null>>()
  let version = 0
  let restUntil = 0
  let complainedAt = Number.NEGATIVE_INFINITY
  let closed = false

  const hear = (heard: number) => {
    if (heard <= version) return
    version = heard
    known.clear()
    strangers.clear()
    // Whoever asks from now on wants an answer from after the change.
    lookUps.clear()
  }
  const sub = listen(bus, log, channels.access, (message) => hear(message.version))
  bus.onReconnect(() => {
    // A change may have been missed. Billing has to confirm what is remembered, if it is there.
    for (const one of known.values()) one.freshUntil = Math.min(one.freshUntil, now())
    strangers.clear()
    lookUps.clear()
    restUntil = 0
  })

  function find(name: string): FoundKey {
    const one = known.get(name)
    if (one !== undefined && (now() < one.freshUntil || mayServe(name, one))) {
      put(known, name, one)
      return one.facts
    }
    const until = strangers.get(name)
    if (until !== undefined && now() < until) return null
    return lookUps.get(name) ?? lookUp(name, one)
  }

  /** No longer fresh, while it is being asked about already or there is nobody to ask. */
  function mayServe(name: string, one: Known): boolean {
    const isAway = now() < restUntil || !bus.connected
    return (isAway || lookUps.has(name)) && isGoodEnough(one)
  }

  /** Where nobody can say how it is now. */
  function isGoodEnough(one: Known | undefined): one is Known {
    return one !== undefined && now() < one.freshUntil + graceMs
  }

  function lookUp(name: string, stale: Known | undefined): Promise<KeyFacts | null> {
    if (lookUps.size >= maxLookUps) {
      return Promise.reject(unavailable('too many keys are asked about'))
    }
    const answer = askBilling(name, stale).finally(() => {
      if (lookUps.get(name) === answer) lookUps.delete(name)
    })
    lookUps.set(name, answer)
    return answer
  }

  async function askBilling(name: string, stale: Known | undefined) {
    const giveUpAt = now() + (isGoodEnough(stale) ? stalePatienceMs : patienceMs)
    for (;;) {
      try {
        const { keyLookup: channel } = channels
        const left = Math.max(1, giveUpAt - now())
        const reply = await ask(bus, channel, channel.subject(), questionOf(name), left)
        remember(name, reply.facts, reply.version)
        return reply.facts
      } catch (cause) {
        if (toErrorInfo(cause).code !== 'service_unavailable') throw cause
        // What was forgotten meanwhile is not good enough.
        if (isGoodEnough(stale) && known.get(name) === stale) {
          restUntil = now() + restMs
          return stale.facts
        }
        if (closed || now() + pauseMs >= giveUpAt) {
          complain(toErrorInfo(cause).message)
          throw unavailable('billing cannot answer')
        }
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  /** For the operator: another secret than the other gateways', say. */
  function complain(reason: string): void {
    if (now() < complainedAt + complaintMs) return
    complainedAt = now()
    log.warn({ reason }, 'keys cannot be looked up')
  }

  function remember(name: string, facts: KeyFacts | null, readAt: number): void {
    hear(readAt)
    if (readAt < version) return
    if (facts === null) {
      known.delete(name)
      put(strangers, name, now() + unknownMs)
    } else {
      strangers.delete(name)
      put(known, name, { facts, freshUntil: now() + freshMs })
    }
  }

  /** As the last one; the first one goes where there are too many. */
  function put<V>(map: Map<string, V>, key: string, value: V): void {
    map.delete(key)
    map.set(key, value)
    if (map.size <= maxKeys) return
    const [first] = map.keys()
    if (first !== undefined) map.delete(first)
  }

  function questionOf(name: string): KeyLookup {
    if (name.startsWith(idPrefix)) return { keyId: name.slice(idPrefix.length) }
    return { secretHash: name, secretFingerprint: options.secret.fingerprint }
  }

  return {
    find,
    holder: (keyId) => find(idPrefix + keyId),
    close() {
      closed = true
      sub.unsubscribe()
    },
  }
}

function unavailable(reason: string): PenstockError {
  const message = `The API key cannot be checked now (${reason}): try again in a moment.`
  return new PenstockError('service_unavailable', message, { retryAfterMs: 1_000 })
}
