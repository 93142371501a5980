// THE table of who gets what at which route of the gateway: for each route, what is asked of whose
// object, and the status that a key's holder, an admin of its team and the master key get.

/** Of keys. `holder`: a plain member of its team. `admin`: an admin of the same team. */
export type Role = 'holder' | 'admin' | 'master'
type Statuses = readonly [holder: number, admin: number, master: number]

/** Whose an object is: the asker's, a team mate's, another team's; or there is none. */
export type Owner = 'own' | 'mate' | 'other' | 'missing'
/** The team of the asker's key; one where its user is the same, but the key is not of it; another. */
export type WhichTeam = 'own' | 'elsewhere' | 'other' | 'missing'

/** Makes objects for one question, so that nothing another one asks about is changed by it. */
export interface Objects {
  /** A key's id. */
  key(owner: Owner): Promise<string>
  /** A team's id. */
  team(which: WhichTeam): Promise<string>
  /** A plain member of such a team, who is not the asker. */
  member(which: WhichTeam): Promise<{ team_id: string; user_id: string }>
  /** A user's id. */
  user(owner: Owner): string
  /** Of a request that was answered, and whose prompt was kept. */
  request(owner: Owner): string
  /** An uploaded file's id, for a batch. */
  file(owner: Owner): Promise<string>
  /** Of a batch that is being validated. */
  batch(owner: Owner): Promise<string>
  /** The same, of Anthropic's batches. */
  messageBatch(owner: Owner): Promise<string>
  newUser(): Promise<string>
  newBudget(): Promise<string>
  /** No other object has it. */
  newName(): string
}

export interface Asked {
  /** In the place of the path's parameters. */
  path?: Record<string, string>
  query?: Record<string, string>
  headers?: Record<string, string>
  body?: object | string
}

export interface Case {
  about: string
  ask: (objects: Objects) => Promise<Asked> | Asked
  expected: Statuses
}

export interface Route {
  /** Needs no key. */
  open?: true
  cases: readonly Case[]
}

const everybody: Statuses = [200, 200, 200]
const masterOnly: Statuses = [403, 403, 200]

const nothing: Case['ask'] = () => ({})
const toEverybody = (ask: Case['ask'] = nothing): Route => ({
  cases: [{ about: 'whatever it may see', ask, expected: everybody }],
})
const toMaster = (ask: Case['ask'] = nothing): Route => ({
  cases: [{ about: 'anything', ask, expected: masterOnly }],
})

/** A response is its key's alone: responses.test.ts shows who finds it. */
const toNobody: Route = {
  cases: [
    {
      about: 'none',
      ask: () => ({ path: { response_id: `resp_${'0'.repeat(32)}` } }),
      expected: [404, 404, 404],
    },
  ],
}

/** One case for each owner. */
function byOwner<O extends Owner | WhichTeam>(
  ask: (objects: Objects, owner: O) => Promise<Asked> | Asked,
  expected: Record<O, Statuses>,
): Route {
  const owners = Object.keys(expected) as O[]
  const cases = owners.map((owner) => ({
    about: owner,
    ask: (objects: Objects) => ask(objects, owner),
    expected: expected[owner],
  }))
  return { cases }
}

const managedTeam = {
  own: [403, 200, 200],
  elsewhere: masterOnly,
  other: masterOnly,
  missing: [403, 403, 404],
} as const
const managedKey = {
  own: [403, 200, 200],
  mate: [403, 200, 200],
  other: masterOnly,
  missing: [403, 403, 404],
} as const
const keyBody = async ({ key }: Objects, owner: Owner) => ({ body: { key: await key(owner) } })
const teamBody = async ({ team }: Objects) => ({ body: { team_id: await team('elsewhere') } })

/** Files and batches: who may not see one is not told whether there is one. */
const ownedByKey = {
  own: [200, 200, 200],
  mate: [404, 404, 200],
  other: [404, 404, 200],
  missing: [404, 404, 404],
} as const
const filePath = async ({ file }: Objects, owner: Owner) => ({
  path: { file_id: await file(owner) },
})
const batchPath = async ({ batch }: Objects, owner: Owner) => ({
  path: { batch_id: await batch(owner) },
})
const messageBatchPath = async ({ messageBatch }: Objects, owner: Owner) => ({
  path: { message_batch_id: await messageBatch(owner) },
})
/** None of them has ended yet. */
const tooEarly = {
  own: [400, 400, 400],
  mate: [404, 404, 400],
  other: [404, 404, 400],
  missing: [404, 404, 404],
} as const

/** A file as a form: for a batch, by default. */
export function uploadOf(
  content: string,
  fields: Record<string, string> = { purpose: 'batch' },
): { headers: Record<string, string>; body: string } {
  const part = (disposition: string, value: string) =>
    `--edge\r\ncontent-disposition: form-data; ${disposition}\r\n\r\n${value}\r\n`
  const file = part('name="file"; filename="lines.jsonl"', content)
  const texts = Object.entries(fields).map(([name, value]) => part(`name="${name}"`, value))
  return {
    headers: { 'content-type': 'multipart/form-data; boundary=edge' },
    body: `${texts.join('')}${file}--edge--\r\n`,
  }
}

const messages = [{ role: 'user', content: 'hello' }]
/** A body of POST /v1/messages/batches. */
export const messageBatchOf = (model: string) => ({
  requests: [{ custom_id: 'one', params: { model, max_tokens: 16, messages } }],
})
const sums = ['keys', 'users', 'teams', 'models', 'tags'].map((name) => `/spend/${name}`)
const days = { start_date: '2026-01-01', end_date: '2026-01-02' }

/** A model that the team may use, and one that it may not. */
const asking = (fields: object): Route => ({
  cases: [
    {
      about: 'a model of its team',
      ask: () => ({ body: { model: 'allowed', ...fields } }),
      expected: everybody,
    },
    {
      about: 'another model',
      ask: () => ({ body: { model: 'forbidden', ...fields } }),
      expected: masterOnly,
    },
  ],
})

/** The same, with the model in the path. */
const askingByPath = (body: object): Route => ({
  cases: [
    {
      about: 'a model of its team',
      ask: () => ({ path: { model: 'allowed' }, body }),
      expected: everybody,
    },
    {
      about: 'another model',
      ask: () => ({ path: { model: 'forbidden' }, body }),
      expected: masterOnly,
    },
  ],
})

/** The stage's provider has no such route: whoever may use the model learns that. */
const notServed = (fields: object): Route => ({
  cases: [
    {
      about: 'a model of its team',
      ask: () => ({ body: { model: 'allowed', ...fields } }),
      expected: [404, 404, 404],
    },
    {
      about: 'another model',
      ask: () => ({ body: { model: 'forbidden', ...fields } }),
      expected: [403, 403, 404],
    },
  ],
})

const audioNotServed: Route = {
  cases: [
    {
      about: 'a model of its team',
      ask: () => uploadOf('audio', { model: 'allowed' }),
      expected: [404, 404, 404],
    },
    {
      about: 'another model',
      ask: () => uploadOf('audio', { model: 'forbidden' }),
      expected: [403, 403, 404],
    },
  ],
}

/** By method and path as Express knows it, without `/v1`. */
export const routes: Record<string, Route> = {
  'GET /health/liveliness': { open: true, ...toEverybody() },
  'GET /health/liveness': { open: true, ...toEverybody() },
  'GET /health/readiness': { open: true, ...toEverybody() },
  'GET /health': toEverybody(),
  'GET /queue': toMaster(),
  'GET /metrics': toMaster(),

  'POST /chat/completions': asking({ messages }),
  'POST /completions': asking({ prompt: 'hello' }),
  'POST /responses': asking({ input: 'hello' }),
  'GET /responses/:response_id': toNobody,
  'DELETE /responses/:response_id': toNobody,
  'POST /responses/:response_id/cancel': toNobody,
  'GET /responses/:response_id/input_items': toNobody,
  'POST /messages': asking({ messages, max_tokens: 16 }),
  'POST /messages/count_tokens': asking({ messages }),
  'POST /embeddings': asking({ input: 'hello' }),
  'POST /moderations': notServed({ input: 'hello' }),
  'POST /rerank': notServed({ query: 'hello', documents: ['one'] }),
  'POST /images/generations': notServed({ prompt: 'hello' }),
  'POST /audio/speech': notServed({ input: 'hello', voice: 'alloy' }),
  'POST /audio/transcriptions': audioNotServed,
  'POST /audio/translations': audioNotServed,
  'GET /openapi.json': { open: true, ...toEverybody() },
  'GET /docs': { open: true, ...toEverybody() },
  'GET /models': toEverybody(),
  'GET /models/*id': {
    cases: [
      {
        about: 'a model of its team',
        ask: () => ({ path: { id: 'allowed' } }),
        expected: everybody,
      },
      { about: 'another model', ask: () => ({ path: { id: 'forbidden' } }), expected: masterOnly },
      { about: 'none', ask: () => ({ path: { id: 'none' } }), expected: [404, 404, 404] },
    ],
  },

  ...Object.fromEntries(
    ['/openai/deployments', '/engines'].flatMap((prefix) => [
      [`POST ${prefix}/*model/chat/completions`, askingByPath({ messages })],
      [`POST ${prefix}/*model/completions`, askingByPath({ prompt: 'hello' })],
      [`POST ${prefix}/*model/embeddings`, askingByPath({ input: 'hello' })],
    ]),
  ),

  'HEAD /': { open: true, ...toEverybody() },
  'GET /api/version': { open: true, ...toEverybody() },
  'POST /api/chat': asking({ messages, stream: false }),
  'POST /api/generate': asking({ prompt: 'hello', stream: false }),
  'POST /api/embed': asking({ input: 'hello' }),
  'POST /api/embeddings': asking({ prompt: 'hello' }),
  'GET /api/tags': toEverybody(),
  'POST /api/show': asking({}),

  'POST /files': toEverybody(() => uploadOf('{}\n')),
  'GET /files': toEverybody(),
  'GET /files/:file_id': byOwner(filePath, ownedByKey),
  'GET /files/:file_id/content': byOwner(filePath, ownedByKey),
  'DELETE /files/:file_id': byOwner(filePath, ownedByKey),
  'POST /batches': byOwner(
    async ({ file }, owner) => ({
      body: { input_file_id: await file(owner), endpoint: '/v1/chat/completions' },
    }),
    { own: everybody, mate: [400, 400, 200], other: [400, 400, 200], missing: [400, 400, 400] },
  ),
  'GET /batches': toEverybody(),
  'GET /batches/:batch_id': byOwner(batchPath, ownedByKey),
  'POST /batches/:batch_id/cancel': byOwner(batchPath, ownedByKey),
  'POST /batches/:batch_id/pause': byOwner(batchPath, ownedByKey),
  'POST /batches/:batch_id/resume': byOwner(batchPath, ownedByKey),
  // None of it has failed yet.
  'POST /batches/:batch_id/retry': byOwner(batchPath, {
    own: [409, 409, 409],
    mate: [404, 404, 409],
    other: [404, 404, 409],
    missing: [404, 404, 404],
  }),
  'GET /batches/:batch_id/dead_letters': byOwner(batchPath, ownedByKey),
  'POST /messages/batches': {
    cases: (['allowed', 'forbidden'] as const).map((model) => ({
      about: `a model that is ${model}`,
      ask: () => ({ body: messageBatchOf(model) }),
      expected: model === 'allowed' ? everybody : masterOnly,
    })),
  },
  'GET /messages/batches': toEverybody(),
  'GET /messages/batches/:message_batch_id': byOwner(messageBatchPath, ownedByKey),
  'POST /messages/batches/:message_batch_id/cancel': byOwner(messageBatchPath, ownedByKey),
  'GET /messages/batches/:message_batch_id/results': byOwner(messageBatchPath, tooEarly),
  'DELETE /messages/batches/:message_batch_id': byOwner(messageBatchPath, tooEarly),

  'POST /key/generate': {
    cases: [
      ...byOwner(async ({ team }, owner) => ({ body: { team_id: await team(owner) } }), managedTeam)
        .cases,
      { about: 'without a team', ask: () => ({ body: {} }), expected: masterOnly },
    ],
  },
  'GET /key/info': {
    cases: [
      // The master key is no entry.
      { about: 'itself', ask: nothing, expected: [200, 200, 404] },
      ...byOwner(async ({ key }, owner) => ({ query: { key: await key(owner) } }), {
        own: everybody,
        mate: [403, 200, 200],
        other: masterOnly,
        missing: [403, 403, 404],
      }).cases,
    ],
  },
  'GET /key/list': toEverybody(),
  'POST /key/update': byOwner(
    async ({ key }, owner) => ({ body: { key: await key(owner), max_budget: 1 } }),
    managedKey,
  ),
  'POST /key/regenerate': byOwner(keyBody, managedKey),
  'POST /key/:key/regenerate': byOwner(
    async ({ key }, owner) => ({ path: { key: await key(owner) }, body: {} }),
    managedKey,
  ),
  'POST /key/block': byOwner(keyBody, managedKey),
  'POST /key/unblock': byOwner(keyBody, managedKey),
  'POST /key/delete': byOwner(
    async ({ key }, owner) => ({ body: { keys: [await key(owner)] } }),
    managedKey,
  ),

  'POST /team/new': toMaster(({ newName }) => ({ body: { team_id: newName() } })),
  'GET /team/info': byOwner(
    async ({ team }, owner) => ({ query: { team_id: await team(owner) } }),
    {
      own: everybody,
      elsewhere: masterOnly,
      other: masterOnly,
      missing: [403, 403, 404],
    },
  ),
  'GET /team/list': toEverybody(),
  'POST /team/update': toMaster(teamBody),
  'POST /team/block': toMaster(teamBody),
  'POST /team/unblock': toMaster(teamBody),
  'POST /team/delete': toMaster(async ({ team }) => ({
    body: { team_ids: [await team('elsewhere')] },
  })),
  'POST /team/member_add': byOwner(
    async ({ team, newName }, owner) => ({
      body: { team_id: await team(owner), member: { role: 'user', user_id: newName() } },
    }),
    managedTeam,
  ),
  'POST /team/member_update': byOwner(
    async ({ member }, owner) => ({ body: { ...(await member(owner)), role: 'user' } }),
    managedTeam,
  ),
  'POST /team/member_delete': byOwner(
    async ({ member }, owner) => ({ body: await member(owner) }),
    managedTeam,
  ),

  'POST /user/new': toMaster(({ newName }) => ({ body: { user_id: newName() } })),
  'GET /user/info': byOwner(({ user }, owner) => ({ query: { user_id: user(owner) } }), {
    own: everybody,
    mate: masterOnly,
    other: masterOnly,
    missing: [403, 403, 404],
  }),
  'GET /user/list': toMaster(),
  'POST /user/update': toMaster(({ user }) => ({ body: { user_id: user('own') } })),
  'POST /user/delete': toMaster(async ({ newUser }) => ({ body: { user_ids: [await newUser()] } })),

  'POST /budget/new': toMaster(({ newName }) => ({
    body: { budget_id: newName(), max_budget: 1 },
  })),
  'POST /budget/info': toMaster(async ({ newBudget }) => ({
    body: { budgets: [await newBudget()] },
  })),
  'POST /budget/update': toMaster(async ({ newBudget }) => ({
    body: { budget_id: await newBudget() },
  })),
  'GET /budget/list': toMaster(),
  'POST /budget/delete': toMaster(async ({ newBudget }) => ({ body: { id: await newBudget() } })),
  'GET /audit': toMaster(),

  'GET /spend/logs': toEverybody(() => ({ query: { summarize: 'false' } })),
  // Who may not see it is not told whether there is one.
  'GET /spend/logs/:request_id/content': byOwner(
    ({ request }, owner) => ({ path: { request_id: request(owner) } }),
    { own: everybody, mate: [404, 200, 200], other: [404, 404, 200], missing: [404, 404, 404] },
  ),
  ...Object.fromEntries(sums.map((path) => [`GET ${path}`, toEverybody()])),
  'GET /global/spend': toEverybody(),
  'GET /global/spend/report': toEverybody(() => ({ query: days })),
  'GET /user/daily/activity': toEverybody(() => ({ query: days })),
  'GET /team/daily/activity': toEverybody(() => ({ query: days })),
  'POST /spend/rebuild': toMaster(() => ({ body: { dry_run: true } })),
  'POST /spend/correct': {
    cases: [
      {
        about: 'a request that there is',
        ask: ({ request }) => ({
          body: { request_id: request('mate'), amount: 0.5, reason: 'a test' },
        }),
        expected: masterOnly,
      },
    ],
  },
}
