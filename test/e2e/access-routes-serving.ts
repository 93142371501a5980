// Who gets what at the routes that serve: health, models, files and batches.
import {
  asking,
  askingByPath,
  byModel,
  byOwner,
  everybody,
  messageBatchOf,
  messages,
  notServed,
  type Objects,
  type Owner,
  type Route,
  toEverybody,
  toMaster,
  uploadOf,
} from './access-routes.ts'

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

const notServedAudio = notServed((model) => uploadOf('audio', { model }))

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

/** By method and path as Express knows it, without `/v1`. */
export const servingRoutes: Record<string, Route> = {
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
  'POST /moderations': notServed((model) => ({ body: { model, input: 'hello' } })),
  'POST /rerank': notServed((model) => ({ body: { model, query: 'hello', documents: ['one'] } })),
  'POST /images/generations': notServed((model) => ({ body: { model, prompt: 'hello' } })),
  'POST /audio/speech': notServed((model) => ({ body: { model, input: 'hello', voice: 'alloy' } })),
  'POST /audio/transcriptions': notServedAudio,
  'POST /audio/translations': notServedAudio,
  'GET /openapi.json': { open: true, ...toEverybody() },
  'GET /docs': { open: true, ...toEverybody() },
  'GET /models': toEverybody(),
  'GET /models/*id': {
    cases: [
      ...byModel((id) => ({ path: { id } })).cases,
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
  'POST /messages/batches': byModel((model) => ({ body: messageBatchOf(model) })),
  'GET /messages/batches': toEverybody(),
  'GET /messages/batches/:message_batch_id': byOwner(messageBatchPath, ownedByKey),
  'POST /messages/batches/:message_batch_id/cancel': byOwner(messageBatchPath, ownedByKey),
  'GET /messages/batches/:message_batch_id/results': byOwner(messageBatchPath, tooEarly),
  'DELETE /messages/batches/:message_batch_id': byOwner(messageBatchPath, tooEarly),
}
