import { readFile } from 'node:fs/promises'
import { startFakeOpenAi } from '../fakes/openai.ts'
import { startServers } from '../harness/servers.ts'
import { startProcesses } from '../harness/processes.ts'
import { batchModel, chatLines, createBatches } from './batch-setup.ts'
const redis = process.argv[3] === 'redis'
const servers = await startServers({ redis })
const fake = await startFakeOpenAi({ keepCalls: 0 })
const p = await startProcesses({ servers, env: { ...(servers.redis ? { REDIS_URL: servers.redis.url } : {}), ...(process.argv[4] ? { NODE_OPTIONS: process.argv[4] } : {}) },
 config: { model_list: [{ model_name: batchModel, litellm_params: { model: 'openai/gpt-4o-mini', api_base: fake.url, max_parallel_requests: 128 } }], general_settings: { master_key: 'sk-x1234567890123456' } } })
for (const s of ['router','worker','billing'] as const) await p.start(s)
const r = await p.start('batch')
await p.ready()
const rss = async (f: string) => Number(new RegExp(`^${f}:\\s+(\\d+)`, 'm').exec(await readFile(`/proc/${r.pid}/status`, 'utf8'))?.[1]) / 1024 | 0
console.log('idle', await rss('VmRSS'))
const b = createBatches(p.url, 'sk-x1234567890123456')
const t = Date.now()
const id = await b.submit(chatLines(Number(process.argv[2] ?? 10000)))
const timer = setInterval(async () => { const x = await b.read(id); console.log(((Date.now()-t)/1000).toFixed(0), x.status, x.request_counts.completed, 'rss', await rss('VmRSS'), 'peak', await rss('VmHWM')) }, 3000)
console.log((await b.ended(id, 120000)).request_counts, Date.now()-t,'ms', 'peak', await rss('VmHWM'))
clearInterval(timer)
await p.close(); await fake.close(); await servers.close()
