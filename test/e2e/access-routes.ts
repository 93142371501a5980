// The words in which the table of who gets what at which route is written (access-routes-serving.ts,
// access-routes-admin.ts): for each route, what is asked of whose object, and the status that a key's
// holder, an admin of its team and the master key get.

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

export const everybody: Statuses = [200, 200, 200]
export const masterOnly: Statuses = [403, 403, 200]

export const nothing: Case['ask'] = () => ({})
export const toEverybody = (ask: Case['ask'] = nothing): Route => ({
  cases: [{ about: 'whatever it may see', ask, expected: everybody }],
})
export const toMaster = (ask: Case['ask'] = nothing): Route => ({
  cases: [{ about: 'anything', ask, expected: masterOnly }],
})

/** One case for each owner. */
export function byOwner<O extends Owner | WhichTeam>(
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

export const messages = [{ role: 'user', content: 'hello' }]
/** A body of POST /v1/messages/batches. */
export const messageBatchOf = (model: string) => ({
  requests: [{ custom_id: 'one', params: { model, max_tokens: 16, messages } }],
})

/** A model that the team may use, and one that it may not. */
export const byModel = (
  ask: (model: string) => Asked,
  allowed: Statuses = everybody,
  forbidden: Statuses = masterOnly,
): Route => ({
  cases: [
    { about: 'a model of its team', ask: () => ask('allowed'), expected: allowed },
    { about: 'another model', ask: () => ask('forbidden'), expected: forbidden },
  ],
})

export const asking = (fields: object): Route =>
  byModel((model) => ({ body: { model, ...fields } }))

/** The same, with the model in the path. */
export const askingByPath = (body: object): Route => byModel((model) => ({ path: { model }, body }))

/** The stage's provider has no such route: whoever may use the model learns that. */
export const notServed = (ask: (model: string) => Asked): Route =>
  byModel(ask, [404, 404, 404], [403, 403, 404])
