import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseConfig } from './load.ts'

describe('warnings', () => {
  const models = `model_list:
  - {model_name: a, litellm_params: {model: openai/a}}
  - {model_name: "b/*", litellm_params: {model: "openai/*"}}
`
  const warningsOf = (text: string) => parseConfig(models + text, {}).warnings

  it('name fallbacks and aliases that lead to no group', () => {
    assert.deepEqual(
      warningsOf(`litellm_settings:
  fallbacks: [{a: [b/x, other-a, nowhere]}, {missing: [a]}, {"*": [a]}]
  default_fallbacks: [gone]
router_settings:
  model_group_alias: {other-a: a, lost: nothing}
`),
      [
        'litellm_settings.fallbacks[0].a[2]: "nowhere" is no model group of this config',
        'litellm_settings.fallbacks[1].missing: "missing" is no model group of this config',
        'litellm_settings.default_fallbacks[0]: "gone" is no model group of this config',
        'router_settings.model_group_alias.lost: "nothing" is no model group of this config',
      ],
    )
  })

  it('tolerate a fallback cycle', () => {
    assert.deepEqual(warningsOf('litellm_settings: {fallbacks: [{a: [b/x]}, {b/x: [a]}]}'), [])
  })

  it('name a master key that does not look like one, not its value', () => {
    assert.deepEqual(warningsOf('general_settings: {master_key: hunter2}'), [
      'the master key does not begin with sk-, as LiteLLM keys do',
    ])
  })

  it('name a key that is given twice; the later one counts, as in PyYAML', () => {
    const { config, warnings } = parseConfig(
      `${models}litellm_settings: {num_retries: 1}\nlitellm_settings: {num_retries: 4}\n`,
      {},
    )
    assert.equal(config.router.numRetries, 4)
    assert.deepEqual(warnings, ['line 5: a key given twice; this one counts'])
  })

  it('leave out unset variables where nothing depends on them, and say so only where we act', () => {
    const text = `general_settings: {database_url: os.environ/DB}
router_settings: {redis_host: os.environ/REDIS_HOST, timeout: os.environ/LIMIT}
`
    const { config, warnings } = parseConfig(models + text, {})
    assert.equal(config.general.databaseUrl, null)
    assert.equal(config.requestTimeoutMs, 600_000)
    assert.deepEqual(warnings, [
      'the environment variable DB is not set; left out: general_settings.database_url',
      'the environment variable LIMIT is not set; left out: router_settings.timeout',
      'read, but not acted on (yet): router_settings.redis_host',
    ])
  })

  it('name retries that LiteLLM knows for a deployment; they are not sent on, a version is kept', () => {
    const text = `model_list:
  - model_name: a
    litellm_params: {model: openai/a, num_retries: 5, max_retries: 4, api_version: "2024-02-01"}
`
    const { config, warnings } = parseConfig(text, {})
    assert.deepEqual(config.deployments[0]?.defaults, { api_version: '2024-02-01' })
    assert.deepEqual(warnings, [
      'read, but not acted on (yet): model_list[].litellm_params.num_retries, ' +
        'model_list[].litellm_params.max_retries',
    ])
  })

  it('name each pre-call check that has no effect', () => {
    const checks = '[enforce_model_rate_limits, prompt_caching, enforce_rate_limits]'
    const text = `router_settings: {optional_pre_call_checks: ${checks}}`
    const { config, warnings } = parseConfig(models + text, {})
    assert.equal(config.router.enforceModelRateLimits, true)
    assert.deepEqual(warnings, [
      'read, but not acted on (yet): router_settings.optional_pre_call_checks: "prompt_caching"; ' +
        'unknown: router_settings.optional_pre_call_checks: "enforce_rate_limits"',
    ])
  })
})
