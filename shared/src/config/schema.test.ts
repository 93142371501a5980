import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { problemsOf, withParams } from './fixtures/problems-of.ts'

describe('values of the wrong kind', () => {
  const at = 'model_list[0].litellm_params'
  for (const [params, expected] of [
    ['timeout: abc', `${at}.timeout: expected a number of seconds, got "abc"`],
    ['timeout: 0', `${at}.timeout: expected a number of seconds, got 0`],
    ['stream_timeout: 3000000', `${at}.stream_timeout: expected a number of seconds, got 3000000`],
    ['timeout: .inf', `${at}.timeout: expected a number of seconds, got Infinity`],
    ['cooldown_time: -1', `${at}.cooldown_time: expected a number of seconds, 0 or more, got -1`],
    ['rpm: 0', `${at}.rpm: expected a number above 0, got 0`],
    ['tpm: [1]', `${at}.tpm: expected a number above 0, got a list`],
    ['weight: heavy', `${at}.weight: expected a number, 0 or more, got "heavy"`],
    ['order: 1.5', `${at}.order: expected a whole number, got 1.5`],
    [
      'max_parallel_requests: 0',
      `${at}.max_parallel_requests: expected a whole number, 1 or more, got 0`,
    ],
    [
      'max_parallel_requests: 0',
      `${at}.max_parallel_requests: expected a whole number, 1 or more, got 0`,
    ],
    ['tags: eu', `${at}.tags: expected a list of texts, got "eu"`],
    ['tags: [1]', `${at}.tags[0]: expected a text, got 1`],
    ['drop_params: maybe', `${at}.drop_params: expected true or false, got "maybe"`],
    [
      'api_base: localhost:11434',
      `${at}.api_base: expected a URL that begins with http:// or https://, got "localhost:11434"`,
    ],
    ['extra_headers: x', `${at}.extra_headers: expected a map of headers, got a text`],
    ['extra_headers: {a: [1]}', `${at}.extra_headers.a: expected a text, got a list`],
    [
      'input_cost_per_token: -1',
      `${at}.input_cost_per_token: expected a number, 0 or more, got -1`,
    ],
    ['mock_response: {a: 1}', `${at}.mock_response: expected a text, got a map`],
  ] as const) {
    it(`are named: ${params}`, () => {
      assert.deepEqual(problemsOf(withParams(params)), [`${expected} (line 1)`])
    })
  }

  for (const [text, expected] of [
    ['model_list: {a: 1}', 'model_list: expected a list of deployments, got a map'],
    [
      'model_list: [x]',
      'model_list[0]: expected a map with model_name and litellm_params, got "x"',
    ],
    [
      'model_list: [{model_name: a}]',
      'model_list[0].litellm_params: is missing: expected a map with at least `model`',
    ],
    [
      'model_list: [{model_name: a, litellm_params: {}}]',
      'model_list[0].litellm_params.model: is missing: expected provider/model',
    ],
    [
      'model_list: [{litellm_params: {model: a/b}}]',
      'model_list[0].model_name: is missing: expected a text',
    ],
    [
      'model_list: [{model_name: 4, litellm_params: {model: a/b}}]',
      'model_list[0].model_name: expected a text, got 4',
    ],
    [
      'penstock_settings: {budgets: {timezone: "+05:30"}}',
      'penstock_settings.budgets.timezone: expected a time zone like Europe/Berlin, got "+05:30"',
    ],
    [
      'router_settings: {routing_strategy: fastest}',
      'router_settings.routing_strategy: expected one of simple-shuffle, least-busy, ' +
        'latency-based-routing, usage-based-routing, usage-based-routing-v2, cost-based-routing, ' +
        'prefix-affinity, got "fastest"',
    ],
    [
      'litellm_settings: {num_retries: many}',
      'litellm_settings.num_retries: expected a whole number, 0 or more, got "many"',
    ],
    ['litellm_settings: [a]', 'litellm_settings: expected a map, got a list'],
    [
      'router_settings: {fallbacks: [a, b]}',
      'router_settings.fallbacks[0]: expected {group: [groups to try after it]}, got "a"',
    ],
    [
      'litellm_settings: {fallbacks: [{"gpt-3.5": gpt-4}]}',
      'litellm_settings.fallbacks[0]["gpt-3.5"]: expected a list of model groups, got "gpt-4"',
    ],
    [
      'router_settings: {model_group_alias: {a: [b]}}',
      'router_settings.model_group_alias.a: expected the name of a model group, got a list',
    ],
    [
      'router_settings: {retry_policy: {TimeoutErrorRetries: x}}',
      'router_settings.retry_policy.TimeoutErrorRetries: ' +
        'expected a whole number, 0 or more, got "x"',
    ],
    [
      'penstock_settings: {model_groups: {a: {data: house}}}',
      'penstock_settings.model_groups.a.data: expected one of local, any, got "house"',
    ],
    [
      'penstock_settings: {max_queue_dept: 5}',
      'penstock_settings.max_queue_dept: is not a setting that Penstock knows',
    ],
    ['environment_variables: {A: [1]}', 'environment_variables.A: expected a text'],
  ] as const) {
    it(`are named: ${text}`, () => {
      const lines = problemsOf(text).map((line) => line.replace(' (line 1)', ''))
      assert.deepEqual(lines.slice(0, 1), [expected])
    })
  }

  it('refuses what is no map at all', () => {
    assert.deepEqual(problemsOf('- a'), ['expected a map with a model_list at its top'])
    assert.deepEqual(problemsOf('hello'), ['expected a map with a model_list at its top'])
  })

  it('lists all of them, in the order of the file, with their lines', () => {
    const text = `router_settings:
  timeout: soon
model_list:
  - model_name: a
    litellm_params:
      model: openai/a
      rpm: lots
  - model_name: b
    litellm_params: {model: openai/b}
    model_info: {data_locality: moon}
general_settings:
  master_key:
`
    assert.deepEqual(problemsOf(text), [
      'router_settings.timeout: expected a number of seconds, got "soon" (line 2)',
      'model_list[0].litellm_params.rpm: expected a number above 0, got "lots" (line 7)',
      'model_list[1].model_info.data_locality: expected one of local, cloud, got "moon" (line 10)',
      'general_settings.master_key: is empty: give it a key, or remove it to leave the gateway ' +
        'open (line 12)',
    ])
  })
})
