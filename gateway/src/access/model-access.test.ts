import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseConfig } from '@penstock/shared/config/load'
import type { KeyFacts } from '@penstock/shared/contracts/access'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { anybody, type Identity } from '../auth.ts'
import { keyFactsOf } from '../fixtures/key-facts.ts'
import { listedModels, type Models, resolveModel } from './model-access.ts'

const { config } = parseConfig(
  JSON.stringify({
    model_list: ['small', 'large', 'huge', 'openai/*'].map((model_name) => ({
      model_name,
      litellm_params: { model: 'sim/lorem' },
    })),
    router_settings: {
      model_group_alias: {
        best: 'large',
        cloud: 'openai/gpt-4o',
        secret: { model: 'huge', hidden: true },
      },
    },
    litellm_settings: {
      fallbacks: [{ small: ['large', 'huge'] }],
      context_window_fallbacks: [{ small: ['huge'] }],
      default_fallbacks: ['large'],
    },
  }),
  {},
)
const fleet = { groups: () => ['joined'], aliases: { nickname: 'joined' } }
const models = { config, fleet } as unknown as Models

const holderOf = (facts: Partial<KeyFacts>): Identity => ({
  ...anybody,
  admin: false,
  facts: keyFactsOf(facts),
})
const limitedTo = (...modelLists: string[][]) => holderOf({ modelLists })

/** The model and the group that serve it, or the code of the refusal. */
function resolved(identity: Identity, requested: string) {
  try {
    const { model, group } = resolveModel(models, identity, requested)
    return `${model} in ${group}`
  } catch (error) {
    if (error instanceof PenstockError) return error.code
    throw error
  }
}

test('whoever has no list may use every model', () => {
  for (const identity of [anybody, holderOf({}), limitedTo([], [])]) {
    assert.equal(resolved(identity, 'small'), 'small in small')
    assert.equal(resolved(identity, 'best'), 'large in large')
    assert.equal(resolved(identity, 'openai/gpt-4o'), 'openai/gpt-4o in openai/*')
    assert.equal(resolved(identity, 'no-such'), 'model_not_found')
    assert.equal(resolveModel(models, identity, 'small').allowedGroups, null)
  }
})

test('a list allows what it names, by pattern or by an alias too', () => {
  const cases: [list: string[], allowed: string[], refused: string[]][] = [
    [['small'], ['small'], ['large', 'best', 'openai/gpt-4o', 'joined']],
    [['best'], ['best', 'large'], ['small']],
    [['large'], ['best', 'large'], ['small']],
    [['openai/*'], ['openai/gpt-4o', 'openai/o1', 'cloud'], ['small', 'joined']],
    [['openai/gpt-4o'], ['openai/gpt-4o', 'cloud'], ['openai/o1']],
    [['cloud'], ['openai/gpt-4o', 'cloud'], ['openai/o1']],
    [['*'], ['small', 'best', 'openai/o1', 'nickname'], []],
    [['nickname'], ['joined', 'nickname'], ['small']],
    [['sm*'], ['small'], ['large']],
  ]
  for (const [list, allowed, refused] of cases) {
    for (const model of allowed) {
      assert.match(resolved(limitedTo(list), model), / in /, `${list} allows ${model}`)
    }
    for (const model of refused) {
      assert.equal(resolved(limitedTo(list), model), 'model_access_denied', `${list}: ${model}`)
    }
  }
})

test('an alias does not lead around a list', () => {
  // The pattern matches the alias, and not what it stands for.
  assert.equal(resolved(limitedTo(['be*']), 'best'), 'model_access_denied')
  const renamed = holderOf({ modelLists: [['small']], aliases: { small: 'large' } })
  assert.equal(resolved(renamed, 'small'), 'model_access_denied')
})

test("every list has to allow it: the key's, its team's and its user's", () => {
  const identity = limitedTo(['small', 'large'], ['large', 'huge'], [])
  assert.equal(resolved(identity, 'large'), 'large in large')
  assert.equal(resolved(identity, 'small'), 'model_access_denied')
  assert.equal(resolved(identity, 'huge'), 'model_access_denied')
})

test("LiteLLM's special names are understood", () => {
  assert.equal(resolved(limitedTo(['all-proxy-models']), 'openai/o1'), 'openai/o1 in openai/*')
  assert.equal(resolved(limitedTo(['all-team-models'], ['small']), 'small'), 'small in small')
  assert.equal(resolved(limitedTo(['all-team-models'], ['small']), 'large'), 'model_access_denied')
  for (const model of ['small', 'openai/o1']) {
    assert.equal(resolved(limitedTo(['no-default-models']), model), 'model_access_denied')
  }
})

test("the key's own aliases come first, then the config's", () => {
  const identity = holderOf({ aliases: { mine: 'best', small: 'huge' } })
  assert.equal(resolved(identity, 'mine'), 'large in large')
  assert.equal(resolved(identity, 'small'), 'huge in huge')
  assert.equal(resolved(identity, 'toString'), 'model_not_found')
})

test('a refusal names the model and the lists that refuse it', () => {
  assert.throws(
    () => resolveModel(models, limitedTo(['small'], ['*'], ['huge', 'joined']), 'best'),
    {
      name: 'PenstockError',
      message:
        'The API key may not use the model `best`: it is limited to `small`, and to `huge`, `joined`.',
      info: {
        code: 'model_access_denied',
        status: 403,
        param: 'model',
        retryAfterMs: null,
        message:
          'The API key may not use the model `best`: it is limited to `small`, and to `huge`, `joined`.',
      },
    },
  )
})

test('fallbacks lead to groups that the key may use, and to no others', () => {
  const groups = (...lists: string[][]) => resolveModel(models, limitedTo(...lists), 'small')
  assert.deepEqual(groups(['small']).allowedGroups, [])
  assert.deepEqual(groups(['small', 'huge']).allowedGroups, ['huge'])
  assert.deepEqual(groups(['*'], ['small', 'large']).allowedGroups, ['large'])
  assert.deepEqual(groups(['small', 'all-proxy-models']).allowedGroups, ['large', 'huge'])
})

test('the list of models has those that the key may use, under every name', () => {
  const all = ['small', 'large', 'huge', 'joined', 'best', 'cloud', 'nickname']
  assert.deepEqual(listedModels(models, anybody), all)
  assert.deepEqual(listedModels(models, holderOf({})), all)
  assert.deepEqual(listedModels(models, limitedTo(['small'])), ['small'])
  assert.deepEqual(listedModels(models, limitedTo(['best', 'gone'])), ['large', 'best'])
  assert.deepEqual(listedModels(models, limitedTo(['no-default-models'])), [])
  assert.deepEqual(listedModels(models, limitedTo(['openai/gpt-4o', 'openai/*'])), [
    'cloud',
    'openai/gpt-4o',
  ])
  const renamed = holderOf({ modelLists: [['small']], aliases: { mine: 'small', not: 'large' } })
  assert.deepEqual(listedModels(models, renamed), ['small', 'mine'])
})
