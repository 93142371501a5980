import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { createSecret } from './access/secret.ts'
import { createAuthenticate, type Identity } from './auth.ts'

function ask(headers: IncomingMessage['headers'], masterKey: string | null = null): Identity {
  const keys = { find: () => assert.fail('no virtual key is given') }
  const authenticate = createAuthenticate({ masterKey, secret: createSecret('s'), keys })
  const identity = authenticate({ headers } as IncomingMessage)
  assert.ok(!(identity instanceof Promise))
  return identity
}

const isRefused = (error: unknown) =>
  error instanceof PenstockError && error.code === 'permission_denied' && error.info.status === 403

test('an open gateway serves the programs and pages of this machine', () => {
  for (const headers of [
    {},
    { host: '127.0.0.1:4000' },
    { host: 'localhost:4000' },
    { host: 'LOCALHOST' },
    { host: '[::1]:4000' },
    { host: '127.8.9.1' },
    { host: 'localhost:4000', origin: 'http://localhost:3000' },
    { host: 'localhost:4000', origin: 'http://127.0.0.1:4000' },
    { host: 'localhost:4000', 'content-type': 'text/plain' },
  ]) {
    assert.equal(ask(headers).admin, true, JSON.stringify(headers))
  }
})

test('a name that only resolves to this machine is refused (DNS rebinding)', () => {
  for (const host of [
    'evil.example',
    'evil.example:4000',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'localhost@evil.example',
    '192.0.2.1:4000',
    ' ',
  ]) {
    assert.throws(() => ask({ host }), isRefused, host)
  }
})

test('a page of any other origin is refused', () => {
  for (const origin of [
    'https://evil.example',
    'http://localhost.evil.example',
    'null',
    'app://localhost',
    'file://',
    '',
  ]) {
    assert.throws(() => ask({ host: '127.0.0.1:4000', origin }), isRefused, origin)
  }
})

test('with a master key the key alone decides', () => {
  const headers = { host: 'llm.example', origin: 'https://llm.example', 'x-api-key': 'sk-1' }
  assert.equal(ask(headers, 'sk-1').admin, true)
})
