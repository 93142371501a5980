import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseConfig } from './load.ts'

const load = (litellm: object, penstock: object = {}) =>
  parseConfig(
    JSON.stringify({
      model_list: [{ model_name: 'm', litellm_params: { model: 'sim/lorem' } }],
      litellm_settings: litellm,
      penstock_settings: penstock,
    }),
    { REDIS_HOST: 'redis.example' },
  )

describe('the cache', () => {
  test('is off unless it is turned on, whatever its parameters', () => {
    assert.equal(load({}).config.cache, null)
    assert.equal(load({ cache: false, cache_params: { ttl: 5 } }).config.cache, null)
  })

  test('is exact, in memory, for ten minutes and for all that LiteLLM caches', () => {
    const { config, warnings } = load({ cache: true })
    assert.deepEqual(warnings, [])
    assert.deepEqual(config.cache, {
      type: 'local',
      redisUrl: null,
      ttlMs: 600_000,
      namespace: '',
      operations: ['chat', 'completion', 'embedding'],
      optIn: false,
      scope: 'team',
      maxEntries: 10_000,
      maxBytes: 256 * 1024 * 1024,
      maxEntryBytes: 4 * 1024 * 1024,
    })
  })

  test('takes what cache_params and our own settings say', () => {
    const params = {
      type: 'redis',
      host: 'os.environ/REDIS_HOST',
      port: '6380',
      password: 'p@ss',
      ttl: 5,
      namespace: 'n',
      supported_call_types: ['acompletion', 'aresponses'],
      mode: 'default_off',
    }
    const bounds = { scope: 'key', max_entries: 1, max_bytes: 2, max_entry_bytes: 3 }
    const { config, warnings } = load({ cache: true, cache_params: params }, { cache: bounds })
    assert.deepEqual(warnings, [])
    assert.deepEqual(config.cache, {
      type: 'redis',
      redisUrl: 'redis://:p%40ss@redis.example:6380',
      ttlMs: 5_000,
      namespace: 'n',
      operations: ['chat'],
      optIn: true,
      scope: 'key',
      maxEntries: 1,
      maxBytes: 2,
      maxEntryBytes: 3,
    })
    assert.ok(!JSON.stringify(config.raw).includes('p@ss'))
  })

  test('says what it keeps in memory instead, and which parameters do nothing', () => {
    const { config, warnings } = load({
      cache: true,
      cache_params: { type: 's3', s3_bucket_name: 'b', tll: 5 },
    })
    assert.equal(config.cache?.type, 'local')
    assert.deepEqual(warnings, [
      'litellm_settings.cache_params.type: there is no cache of type s3; answers are cached exactly, in memory',
      'read, but not acted on (yet): litellm_settings.cache_params.s3_bucket_name; ' +
        'unknown: litellm_settings.cache_params.tll',
    ])
  })

  test('refuses values that are none', () => {
    for (const cache_params of [{ type: 'memory' }, { ttl: -1 }, { url: 'http://redis' }]) {
      assert.throws(() => load({ cache: true, cache_params }), /litellm_settings\.cache_params\./)
    }
  })
})
