import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { test } from 'node:test'
import type { KeyFacts } from '@penstock/shared/contracts/access'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { FoundKey } from './access/key-cache.ts'
import { createSecret } from './access/secret.ts'
import { createAuthenticate } from './auth.ts'
import { keyFactsOf } from './fixtures/key-facts.ts'

const masterKey = 'sk-0123456789abcdef'
const key = 'sk-fedcba9876543210'
const now = 1_000_000
const digestOf = (text: string) => createHmac('sha256', 'secret').update(text).digest('hex')

/** Asks with these headers; the one key that there is has the given facts. */
function ask(headers: IncomingHttpHeaders, found: FoundKey = keyFactsOf()) {
  const keys = { find: (hash: string) => (hash === digestOf(key) ? found : null) }
  const secret = createSecret('secret')
  const authenticate = createAuthenticate({ masterKey, secret, keys, now: () => now })
  return authenticate({ headers } as IncomingMessage)
}

const bearer = (text: string) => ({ authorization: `Bearer ${text}` })
const withCode = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof PenstockError && error.code === code && message.test(error.message)

test('the master key is the admin, known by its name and not by its text', () => {
  const caller = { keyId: 'master', userId: 'default_user_id', teamId: null }
  assert.deepEqual(ask(bearer(masterKey)), {
    caller,
    admin: true,
    actor: { role: 'master', ...caller },
    facts: null,
  })
})

test('a remembered key is answered at once, with whose it is', () => {
  const facts = keyFactsOf({ userId: 'jane', teamId: 't1' })
  const caller = { keyId: 'key_1', userId: 'jane', teamId: 't1' }
  assert.deepEqual(ask(bearer(key), facts), {
    caller,
    admin: false,
    actor: { role: 'key', ...caller },
    facts,
  })
})

test('a key that has to be looked up is waited for', async () => {
  const identity = ask(bearer(key), Promise.resolve(keyFactsOf()))
  assert.ok(identity instanceof Promise)
  assert.equal((await identity).caller.keyId, 'key_1')
  await assert.rejects(
    async () => ask(bearer(key), Promise.resolve(null)),
    withCode('authentication_failed', /not valid/),
  )
})

test('the key may be in the header of any client', () => {
  for (const headers of [
    { authorization: `bearer ${masterKey}` },
    { authorization: masterKey },
    { 'x-api-key': masterKey },
    { 'api-key': masterKey },
    { 'x-goog-api-key': masterKey },
    { 'x-litellm-api-key': `Bearer ${masterKey}`, authorization: 'Basic b3RoZXI6c2VydmljZQ==' },
  ]) {
    const identity = ask(headers)
    assert.ok(!(identity instanceof Promise) && identity.admin, JSON.stringify(headers))
  }
  assert.throws(() => ask({}), withCode('authentication_failed', /No API key/))
})

test('a key that may no longer be used is refused, and it is said why', () => {
  const cases: [Partial<KeyFacts>, string, RegExp][] = [
    [{ expiresAt: now }, 'key_expired', /expired at 1970-01-01T00:16:40.000Z/],
    [{ blocked: 'key' }, 'authentication_failed', /^The API key is blocked\.$/],
    [{ blocked: 'team', teamId: 't1' }, 'authentication_failed', /team `t1` is blocked/],
    [{ blocked: 'user', userId: 'jane' }, 'authentication_failed', /user `jane` is blocked/],
  ]
  for (const [facts, code, message] of cases) {
    assert.throws(() => ask(bearer(key), keyFactsOf(facts)), withCode(code, message))
  }
  assert.doesNotThrow(() => ask(bearer(key), keyFactsOf({ expiresAt: now + 1 })))
})

test('a text that can be no key is refused without asking about it', () => {
  const keys = { find: () => assert.fail('asked') }
  const authenticate = createAuthenticate({ masterKey, secret: createSecret('secret'), keys })
  for (const text of ['', 'sk-', 'sk-short', 'no-key-at-all-of-ours', `sk-${'x'.repeat(10_000)}`]) {
    const request = { headers: { 'x-api-key': text } } as unknown as IncomingMessage
    assert.throws(() => authenticate(request), withCode('authentication_failed', /not valid/))
  }
})

test('the work for a wrong key is the same however much of it is right', () => {
  const real = createSecret('secret')
  const work: string[] = []
  const compared: Buffer[] = []
  const secret = {
    ...real,
    digestOf(text: string) {
      work.push(`digest of ${text.length}`)
      return real.digestOf(text)
    },
    isSame(one: Buffer, other: Buffer) {
      work.push(`compare ${one.length} with ${other.length}`)
      compared.push(one)
      assert.deepEqual(other, real.digestOf(masterKey))
      return real.isSame(one, other)
    },
  }
  const sought: string[] = []
  const keys = {
    find(hash: string) {
      work.push(`find ${hash.length}`)
      sought.push(hash)
      return null
    },
  }
  const authenticate = createAuthenticate({ masterKey, secret, keys })
  work.length = 0
  const wrong = Array.from({ length: masterKey.length - 3 }, (_, right) => {
    const rest = masterKey.length - 3 - right
    return masterKey.slice(0, 3 + right) + '#'.repeat(rest)
  })
  const works = wrong.map((text) => {
    assert.throws(() => authenticate({ headers: bearer(text) } as IncomingMessage))
    return work.splice(0)
  })
  for (const one of works) {
    assert.deepEqual(one, ['digest of 19', 'compare 32 with 32', 'find 64'])
  }
  // What is compared and sought are digests: of two keys that share a beginning they share none.
  assert.deepEqual(
    sought,
    wrong.map((text) => digestOf(text)),
  )
  assert.deepEqual(
    compared.map((digest) => digest.toString('hex')),
    sought,
  )
})
