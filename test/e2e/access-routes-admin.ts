// Who gets what at the routes that manage: keys, teams, users, budgets, and what was spent.
import {
  byOwner,
  everybody,
  masterOnly,
  nothing,
  type Objects,
  type Owner,
  type Route,
  toEverybody,
  toMaster,
} from './access-routes.ts'

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

const sums = ['keys', 'users', 'teams', 'models', 'tags'].map((name) => `/spend/${name}`)
const days = { start_date: '2026-01-01', end_date: '2026-01-02' }

/** By method and path as Express knows it, without `/v1`. */
export const adminRoutes: Record<string, Route> = {
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
