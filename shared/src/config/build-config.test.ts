import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { deploymentInfo } from '../contracts/fleet.ts'
import { loadConfig, parseConfig } from './load.ts'
import { priceNames } from './schema.ts'

const fixture = (name: string) => join(import.meta.dirname, 'fixtures', name)
const keys = { OPENAI_API_KEY: 'sk-openai', LITELLM_MASTER_KEY: 'sk-master' }
const everythingEnv = { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'shh' }

async function everything() {
  const loaded = await loadConfig(fixture('everything.yaml'), everythingEnv)
  const inGroup = (group: string) => {
    const found = loaded.config.deployments.find((deployment) => deployment.group === group)
    assert.ok(found)
    return found
  }
  return { ...loaded, inGroup }
}

describe("a tutorial's production config", () => {
  it('loads unchanged, without a warning', async () => {
    const { config, warnings } = await loadConfig(fixture('tutorial.yaml'), keys)
    assert.deepEqual(warnings, [])
    assert.deepEqual(config.groups, ['fast', 'smart', 'coder', 'gpt-4o-mini', 'smart-cloud'])
    assert.equal(config.masterKey, 'sk-master')
    assert.equal(config.router.strategy, 'least-busy')
    assert.equal(config.router.numRetries, 3)
    assert.equal(config.requestTimeoutMs, 300_000)
    assert.deepEqual({ ...config.fallbacks }, { smart: ['smart-cloud'] })
  })

  it('gives each deployment its parameters, and the global drop_params', async () => {
    const { config } = await loadConfig(fixture('tutorial.yaml'), keys)
    const [fast, smart, coder, mini, cloud] = config.deployments
    assert.equal(fast?.model, 'ollama_chat/llama3.2:3b')
    assert.equal(fast?.apiBase, 'http://localhost:11434')
    assert.equal(fast?.timeoutMs, null)
    assert.equal(smart?.timeoutMs, 120_000)
    assert.deepEqual(coder?.defaults, { keep_alive: '10m', num_ctx: 8192 })
    assert.equal(mini?.apiKey, 'sk-openai')
    assert.equal(cloud?.model, 'gpt-4o')
    assert.equal(cloud?.rpm, 60)
    assert.ok(config.deployments.every((deployment) => deployment.dropParams))
  })

  it('starts without the cloud key, and says which deployments lack it', async () => {
    const { config, warnings } = await loadConfig(fixture('tutorial.yaml'), {
      LITELLM_MASTER_KEY: 'sk-master',
    })
    assert.equal(config.deployments[3]?.apiKey, null)
    assert.deepEqual(warnings, [
      'the environment variable OPENAI_API_KEY is not set; left out: ' +
        'model_list[3].litellm_params.api_key, model_list[4].litellm_params.api_key',
    ])
  })
})

describe('a config with every key', () => {
  it('resolves a deployment in full', async () => {
    const { config } = await everything()
    assert.deepEqual(config.deployments[0], {
      id: 'azure-eu-1',
      group: 'gpt-4o',
      model: 'azure/gpt-4o-eu',
      apiBase: 'https://eu.openai.azure.com',
      apiKey: 'azure-secret',
      organization: 'org-1',
      extraHeaders: { 'AI-Resource-Group': 'team-1', 'x-shard': '7' },
      timeoutMs: 300_000,
      streamTimeoutMs: 2_500,
      maxParallelRequests: 10,
      rpm: 480,
      tpm: 20_000,
      weight: 2,
      order: 1,
      cooldownMs: 30_000,
      tags: ['eu', 'paid'],
      dropParams: false,
      additionalDropParams: ['response_format'],
      defaults: {
        api_version: '2024-02-01',
        temperature: 0.2,
        stop: ['END'],
        response_format: { type: 'json_object' },
        my_own_param: 1,
        chat_template_kwargs: { enable_thinking: false },
      },
      prices: {
        inputCostPerToken: 0.000001,
        outputCostPerToken: 0.00001,
        cacheReadInputTokenCost: 0.00000125,
        cacheCreationInputTokenCost: 0.000003,
      },
      baseModel: 'azure/gpt-4o',
      mode: 'chat',
      maxInputTokens: 128_000,
      maxOutputTokens: 16_384,
      dataLocality: 'cloud',
      mockResponse: null,
    })
  })

  it('knows every name of a price in both places, and sends none of them upstream', () => {
    const names = Object.keys(priceNames)
    for (const place of ['litellm_params', 'model_info']) {
      const prices = names.map((name, index) => `${name}: ${index}e-6`).join(', ')
      const params = place === 'litellm_params' ? `, ${prices}` : ''
      const info = place === 'model_info' ? prices : ''
      const entry = `{model_name: a, litellm_params: {model: openai/a${params}}, model_info: {${info}}}`
      const { config, warnings } = parseConfig(`model_list: [${entry}]`, {})
      assert.deepEqual(warnings, [])
      const [found] = config.deployments
      const expected = Object.values(priceNames).map((name, index) => [name, Number(`${index}e-6`)])
      assert.deepEqual(found?.prices, Object.fromEntries(expected))
      assert.deepEqual(found?.defaults, {})
    }
  })

  it('puts what belongs to an upstream into the defaults', async () => {
    const { inGroup } = await everything()
    assert.deepEqual(inGroup('bedrock-claude').defaults, {
      aws_access_key_id: 'AKIA',
      aws_secret_access_key: 'shh',
      aws_region_name: 'us-east-1',
    })
    assert.deepEqual(inGroup('bedrock-claude').prices, { inputCostPerSecond: 0.00042 })
    assert.deepEqual(inGroup('canned').defaults, { sim_ttft_ms: 5 })
    assert.equal(inGroup('canned').mockResponse, 'This is canned.')
  })

  it('knows the other spellings: base_url, custom_llm_provider, an empty key', async () => {
    const { inGroup } = await everything()
    assert.equal(inGroup('embed').apiBase, 'http://10.0.0.5:8000/v1')
    assert.equal(inGroup('embed').apiKey, null)
    assert.equal(inGroup('embed').mode, 'embedding')
    assert.equal(inGroup('embed').dataLocality, 'local')
    assert.equal(inGroup('gemini').model, 'vertex_ai/gemini-1.5-pro')
  })

  it('makes one deployment of each organization', async () => {
    const { config } = await everything()
    const some = config.deployments.filter(({ group }) => group === 'openai/*')
    assert.deepEqual(
      some.map(({ organization }) => organization),
      ['org-a', 'org-b'],
    )
    assert.notEqual(some[0]?.id, some[1]?.id)
  })

  it('keeps a weight of 0 above 0, as the fleet wants it, and far below any other', async () => {
    const { config } = await everything()
    const weight = config.deployments[1]?.weight
    assert.ok(deploymentInfo.shape.weight.safeParse(weight).success)
    assert.ok(weight !== null && weight !== undefined && weight < 1e-6)
  })

  it('lets router_settings win over litellm_settings', async () => {
    const { config } = await everything()
    assert.equal(config.requestTimeoutMs, 30_000)
    assert.equal(config.router.numRetries, 2)
    assert.equal(config.router.allowedFails, 7)
    assert.deepEqual({ ...config.fallbacks }, { 'gpt-4o': ['bedrock-claude', 'embed'] })
    assert.deepEqual(config.defaultFallbacks, ['gemini', 'canned'])
    assert.deepEqual(
      { ...config.contextWindowFallbacks },
      { 'gpt-4o': ['gemini', 'bedrock-claude'] },
    )
    assert.deepEqual({ ...config.contentPolicyFallbacks }, { 'gpt-4o': ['bedrock-claude'] })
  })

  it('reads the router settings', async () => {
    const { config } = await everything()
    assert.deepEqual(
      { ...config.router, modelGroupAlias: { ...config.router.modelGroupAlias } },
      {
        strategy: 'usage-based-routing-v2',
        numRetries: 2,
        retryPolicy: {
          badRequest: 0,
          authentication: 1,
          timeout: 2,
          rateLimit: 3,
          contentPolicyViolation: 4,
          internalServer: 5,
        },
        streamTimeoutMs: 8_000,
        cooldownMs: 12_000,
        allowedFails: 7,
        modelGroupAlias: { 'gpt-4': 'gpt-4o', 'secret-alias': 'gpt-4o' },
        hiddenAliases: ['secret-alias'],
        enableTagFiltering: true,
        enablePreCallChecks: true,
        enforceModelRateLimits: true,
      },
    )
  })

  it('names in one sentence what has no effect, misspelt keys apart', async () => {
    const { warnings } = await everything()
    assert.equal(warnings.length, 1)
    const [known = '', unknown = ''] = String(warnings[0]).split('; unknown: ')
    for (const key of [
      'guardrails',
      'litellm_settings.set_verbose',
      'litellm_settings.success_callback',
      'litellm_settings.failure_callback',
      'litellm_settings.json_logs',
      'router_settings.redis_host',
      'general_settings.alerting',
      'model_list[].model_info.supports_function_calling',
      'model_list[].litellm_params.region_name',
      'model_list[].litellm_params.max_retries',
    ]) {
      assert.ok(known.includes(key), key)
    }
    assert.equal(unknown, 'router_settings.num_retires, model_list[].litellm_params.my_own_param')
  })

  it('keeps the sections as written in raw, and no secret of them', async () => {
    const { config, warnings } = await everything()
    const raw = JSON.stringify(config.raw)
    assert.ok(raw.includes('"num_retires":9'))
    assert.ok(raw.includes('os.environ/REDIS_HOST'))
    for (const secret of ['hush', 'sk-1234', 'azure-secret', 'sk-literal-secret', 'shh']) {
      assert.ok(!raw.includes(secret), secret)
      assert.ok(!warnings.join().includes(secret), secret)
    }
  })

  it('applies environment_variables without touching the environment it was given', async () => {
    const env = { ...everythingEnv, AZURE_API_KEY: 'from outside' }
    const { config } = await loadConfig(fixture('everything.yaml'), env)
    assert.equal(config.deployments[0]?.apiKey, 'azure-secret')
    assert.deepEqual(config.environment, {
      AZURE_API_KEY: 'azure-secret',
      STREAM_TIMEOUT: '2.5',
      REDIS_PORT: '6379',
    })
    assert.deepEqual(env, { ...everythingEnv, AZURE_API_KEY: 'from outside' })
    assert.equal(process.env.AZURE_API_KEY, undefined)
  })
})
