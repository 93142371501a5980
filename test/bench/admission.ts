// What a key, its limits and its budget add to a request at one connection: the same requests by the
// master key and by virtual keys, in turns, so that a machine that drifts drifts for all of them. A turn
// is many requests: what one of them leaves to be done later slows the next one of its own kind.
// `npm run bench` prints it at its end; alone: `node test/bench/admission.ts`. Nothing is asserted.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKeys } from '../harness/keys.ts'
import { startProcesses } from '../harness/processes.ts'
import { startServers } from '../harness/servers.ts'
import { milliseconds } from './format.ts'
import { percentile } from './statistics.ts'

const rounds = 40
const warmUp = 10
const requestsInTurn = 20
const pauseMs = 10
const masterKey = 'sk-of-the-admission-bench'
const model = 'answered-at-once'
const body = { model, messages: [{ role: 'user', content: 'hello' }], max_tokens: 16 }
const plenty = 1_000_000
/**
 * The worst case of this one is a tenth of a cent, its answers cost a hundredth of that: so many US
 * dollars pay for all that is asked here, and never for more than 35 worst cases.
 */
const dearBody = { ...body, max_tokens: 1_000 }
const scarce = 0.035

const nearTheEnd = 'a key near the end of its budget'

const config = {
  model_list: [
    {
      model_name: model,
      litellm_params: { model: 'openai/x', mock_response: 'hello', max_parallel_requests: 64 },
      model_info: { input_cost_per_token: 1e-6, output_cost_per_token: 1e-6 },
    },
  ],
  general_settings: { master_key: masterKey },
}

/** @returns lines for people */
export async function measureAdmission(signal: AbortSignal): Promise<string[]> {
  const servers = await startServers()
  const processes = await startProcesses({ servers, config }).catch(async (error) => {
    await servers.close()
    throw error
  })
  try {
    for (const service of ['router', 'worker', 'billing'] as const) await processes.start(service)
    const keys = await createKeys(processes.client, [processes.url])
    const limits = { rpm_limit: plenty, tpm_limit: plenty * 100, max_parallel_requests: 1_000 }
    const made = {
      'a key without limits and budget': await keys.make({}),
      'a key with limits': await keys.make(limits),
      'a key with a budget': await keys.make({ max_budget: plenty }),
      [nearTheEnd]: await keys.make({ max_budget: scarce }),
      'a key with limits and a budget': await keys.make({ ...limits, max_budget: plenty }),
    }
    const clients = new Map([['the master key', processes.client]])
    for (const [name, key] of Object.entries(made)) {
      const [client] = key.clients
      if (client !== undefined) clients.set(name, client)
    }
    const times = new Map<string, number[]>([...clients.keys()].map((name) => [name, []]))
    const bodies = new Map([[nearTheEnd, dearBody]])
    const lanes = [...clients]
    for (let round = 0; round < warmUp + rounds; round++) {
      const first = round % lanes.length
      for (const [name, client] of [...lanes.slice(first), ...lanes.slice(0, first)]) {
        for (let i = 0; i < requestsInTurn; i++) {
          signal.throwIfAborted()
          const begunAt = performance.now()
          const answer = await client.post('/v1/chat/completions', bodies.get(name) ?? body)
          assert.equal(answer.status, 200, answer.text)
          if (round >= warmUp) times.get(name)?.push(performance.now() - begunAt)
        }
        await sleep(pauseMs)
      }
    }
    await keys.close()
    return linesOf(times)
  } finally {
    await processes.close()
    await servers.close()
  }
}

function linesOf(times: ReadonlyMap<string, number[]>): string[] {
  const p50s = [...times].map(([name, all]) => ({ name, p50: percentile(all, 0.5) }))
  const base = p50s[0]?.p50 ?? 0
  return p50s.map(({ name, p50 }, index) => {
    const added = index === 0 ? '' : `, ${milliseconds(p50 - base)} more`
    return `  ${name.padEnd(33)} p50 ${milliseconds(p50)}${added}`
  })
}

if (import.meta.main) {
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('stopped')))
  console.log((await measureAdmission(stop.signal)).join('\n'))
}
