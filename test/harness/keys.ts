// Virtual keys for tests: made by the master key, each with a client of its own per gateway.
import assert from 'node:assert/strict'
import { z } from 'zod'
import { type Client, createClient } from './client.ts'
import { untilReady } from './stack.ts'

export interface TestKey {
  /** The key's public id. */
  id: string
  key: string
  /** Of each gateway, the first one first. */
  clients: readonly Client[]
}

export interface Keys {
  /** `POST /key/generate` with these fields. */
  make(fields: object): Promise<TestKey>
  /** What `GET /key/info` says that the key has spent, in US dollars. */
  spendOf(key: TestKey): Promise<number>
  close(): Promise<void>
}

const made = z.looseObject({ key: z.string(), token: z.string() })
const known = z.looseObject({ info: z.looseObject({ spend: z.number() }) })

/** Resolves when every gateway is ready. */
export async function createKeys(master: Client, urls: readonly string[]): Promise<Keys> {
  const opened: Client[] = []
  const open = (url: string, key: string | null) => {
    const client = createClient(url, key)
    opened.push(client)
    return client
  }
  await Promise.all(urls.map((url) => untilReady(open(url, null))))
  return {
    async make(fields) {
      const answer = await master.post('/key/generate', fields)
      assert.equal(answer.status, 200, answer.text)
      const { key, token } = made.parse(answer.json)
      return { id: token, key, clients: urls.map((url) => open(url, key)) }
    },
    async spendOf({ id }) {
      const answer = await master.get(`/key/info?key=${id}`)
      assert.equal(answer.status, 200, answer.text)
      return known.parse(answer.json).info.spend
    },
    async close() {
      await Promise.all(opened.map((client) => client.close()))
    },
  }
}
