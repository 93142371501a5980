// THE table of the routes in the OpenAPI document, but for the admin API, which describes itself
// (shared/contracts/admin). Paths as Express knows them; one that stands with and without `/v1` is here once.
import { batchObject, createBatchRequest, fileObject } from '@penstock/shared/contracts/batches'
import { activityFilters, totalsFilters } from '@penstock/shared/contracts/reports'
import {
  requestContent,
  spendLogRow,
  spendLogsFilters,
  spendSummaryFilters,
} from '@penstock/shared/contracts/spend'
import { countTokensRequest, messagesRequest } from '@penstock/shared/dialects/messages/request'
import { responsesRequest } from '@penstock/shared/dialects/responses/request'
import { z } from 'zod'
import { messageBatchRequest } from '../batch/message-lines.ts'
import {
  imageRequest,
  moderationRequest,
  rerankRequest,
  speechRequest,
  transcriptionRequest,
  translationRequest,
} from '../routed-schemas.ts'
import { chatRequest, completionRequest, embeddingRequest } from '../schemas.ts'

export interface DescribedRoute {
  tag: string
  summary: string
  /** The body, in JSON. */
  body?: z.ZodType
  query?: z.ZodType
  /** What answers it; absent: any JSON. */
  reply?: z.ZodType
  /** In place of JSON. */
  produces?: string
  /** In place of JSON: what the body is sent as. */
  consumes?: string
  /** Needs no key. */
  open?: true
}

const inference = (tag: string) => (summary: string, body: z.ZodType) => ({ tag, summary, body })
const openai = inference('OpenAI')
const azure = inference('Azure and engines')
const ollama = inference('Ollama')
const file = z.file()
const audioText = { tag: 'OpenAI', consumes: 'multipart/form-data' } as const
const withModel = z.looseObject({ model: z.string().optional() })
const named = z.looseObject({ model: z.string() })
const object = z.record(z.string(), z.unknown())
const list = <S extends z.ZodType>(data: S) => z.looseObject({ data: z.array(data) })

const chats = 'A chat, whole or streamed; the model is in the path'
const completions = 'A text completion, whole or streamed; the model is in the path'
const embeddings = 'Embeddings; the model is in the path'
const health = { tag: 'Health', open: true } as const
const spend = { tag: 'Spend' } as const
const files = { tag: 'Files and batches', reply: fileObject } as const
const batches = { tag: 'Files and batches', reply: batchObject } as const
const anthropicBatches = { tag: 'Anthropic' } as const
const responses = { tag: 'Responses' } as const

export const describedRoutes: Readonly<Record<string, DescribedRoute>> = {
  'POST /v1/chat/completions': openai('A chat, whole or streamed', chatRequest),
  'POST /v1/completions': openai('A text completion, whole or streamed', completionRequest),
  'POST /v1/embeddings': openai('Embeddings', embeddingRequest),
  'POST /v1/moderations': openai('Moderations', moderationRequest),
  'POST /v1/rerank': openai("Documents by relevance, in Cohere's form", rerankRequest),
  'POST /v1/images/generations': openai('Images', imageRequest),
  'POST /v1/audio/speech': {
    ...openai('Speech from text', speechRequest),
    produces: 'audio/*',
  },
  'POST /v1/audio/transcriptions': {
    ...audioText,
    summary: 'Text from speech; plain text where `response_format` says so',
    body: transcriptionRequest.extend({ file }),
  },
  'POST /v1/audio/translations': {
    ...audioText,
    summary: 'English text from speech; plain text where `response_format` says so',
    body: translationRequest.extend({ file }),
  },
  'GET /v1/models': { tag: 'OpenAI', summary: 'The models that the key may use' },
  'GET /v1/models/*id': { tag: 'OpenAI', summary: 'One model' },

  'POST /v1/messages': {
    tag: 'Anthropic',
    summary: "Anthropic's Messages, whole or streamed",
    body: messagesRequest,
  },
  'POST /v1/messages/count_tokens': {
    tag: 'Anthropic',
    summary: 'The tokens of a request, estimated',
    body: countTokensRequest,
  },
  'POST /v1/messages/batches': {
    ...anthropicBatches,
    summary: 'Begin a batch',
    body: messageBatchRequest,
  },
  'GET /v1/messages/batches': { ...anthropicBatches, summary: 'The batches' },
  'GET /v1/messages/batches/:message_batch_id': { ...anthropicBatches, summary: 'One batch' },
  'POST /v1/messages/batches/:message_batch_id/cancel': {
    ...anthropicBatches,
    summary: 'Cancel a batch',
  },
  'DELETE /v1/messages/batches/:message_batch_id': {
    ...anthropicBatches,
    summary: 'Delete a batch',
  },
  'GET /v1/messages/batches/:message_batch_id/results': {
    ...anthropicBatches,
    summary: 'The answers of a batch, one a line',
    produces: 'application/x-jsonl',
  },

  'POST /v1/responses': {
    ...responses,
    summary: 'A response, whole, streamed or in the background',
    body: responsesRequest,
  },
  'GET /v1/responses/:response_id': {
    ...responses,
    summary: 'A stored response; with `stream=true` its events',
    query: z.looseObject({
      stream: z.enum(['true', 'false']).optional(),
      starting_after: z.string().optional(),
    }),
  },
  'DELETE /v1/responses/:response_id': { ...responses, summary: 'Forget a stored response' },
  'POST /v1/responses/:response_id/cancel': {
    ...responses,
    summary: 'Cancel a response in the background',
  },
  'GET /v1/responses/:response_id/input_items': { ...responses, summary: 'What it was asked' },

  'POST /openai/deployments/*model/chat/completions': azure(
    chats,
    chatRequest.partial({ model: true }),
  ),
  'POST /openai/deployments/*model/completions': azure(
    completions,
    completionRequest.partial({ model: true }),
  ),
  'POST /openai/deployments/*model/embeddings': azure(
    embeddings,
    embeddingRequest.partial({ model: true }),
  ),
  'POST /v1/engines/*model/chat/completions': azure(chats, chatRequest.partial({ model: true })),
  'POST /v1/engines/*model/completions': azure(
    completions,
    completionRequest.partial({ model: true }),
  ),
  'POST /v1/engines/*model/embeddings': azure(
    embeddings,
    embeddingRequest.partial({ model: true }),
  ),

  'POST /api/chat': ollama("A chat in Ollama's form", named),
  'POST /api/generate': ollama("A completion in Ollama's form", named),
  'POST /api/embed': ollama("Embeddings in Ollama's form", named),
  'POST /api/embeddings': ollama("One embedding in Ollama's older form", named),
  'POST /api/show': ollama('What is known of a model', withModel),
  'GET /api/tags': { tag: 'Ollama', summary: 'The models that the key may use' },
  'GET /api/version': { tag: 'Ollama', summary: 'The version of the API', open: true },
  'HEAD /': { tag: 'Ollama', summary: 'Whether somebody is there', open: true },

  'POST /v1/files': { ...files, summary: 'Upload a file', consumes: 'multipart/form-data' },
  'GET /v1/files': { ...files, summary: 'The files', reply: list(fileObject) },
  'GET /v1/files/:file_id': { ...files, summary: 'One file' },
  'DELETE /v1/files/:file_id': { ...files, summary: 'Delete a file', reply: object },
  'GET /v1/files/:file_id/content': {
    tag: files.tag,
    summary: 'What is in a file',
    produces: 'application/octet-stream',
  },
  'POST /v1/batches': { ...batches, summary: 'Begin a batch', body: createBatchRequest },
  'GET /v1/batches': { ...batches, summary: 'The batches', reply: list(batchObject) },
  'GET /v1/batches/:batch_id': { ...batches, summary: 'One batch' },
  'POST /v1/batches/:batch_id/cancel': { ...batches, summary: 'Cancel a batch' },
  'POST /v1/batches/:batch_id/pause': { ...batches, summary: 'Pause a batch' },
  'POST /v1/batches/:batch_id/resume': { ...batches, summary: 'Let a paused batch go on' },
  'POST /v1/batches/:batch_id/retry': { ...batches, summary: 'Run the failed lines again' },
  'GET /v1/batches/:batch_id/dead_letters': {
    tag: batches.tag,
    summary: 'The lines that failed for good',
  },

  'GET /spend/logs': {
    ...spend,
    summary: 'The request log, or its sums by day',
    query: spendLogsFilters.extend(spendSummaryFilters.partial().shape).partial(),
    reply: z.union([z.array(spendLogRow), z.array(object)]),
  },
  'GET /spend/logs/:request_id/content': {
    ...spend,
    summary: "What was kept of a request's prompt and reply",
    reply: requestContent,
  },
  'GET /spend/keys': { ...spend, summary: 'Spend by key', query: totalsFilters },
  'GET /spend/users': { ...spend, summary: 'Spend by user', query: totalsFilters },
  'GET /spend/teams': { ...spend, summary: 'Spend by team', query: totalsFilters },
  'GET /spend/models': { ...spend, summary: 'Spend by model', query: totalsFilters },
  'GET /spend/tags': { ...spend, summary: 'Spend by tag', query: totalsFilters },
  'GET /global/spend': { ...spend, summary: 'All that was spent', query: totalsFilters },
  'GET /global/spend/report': { ...spend, summary: 'Spend of some days', query: totalsFilters },
  'GET /user/daily/activity': { ...spend, summary: 'Days of users', query: activityFilters },
  'GET /team/daily/activity': { ...spend, summary: 'Days of teams', query: activityFilters },

  'GET /health/liveliness': { ...health, summary: 'Whether the gateway lives' },
  'GET /health/liveness': { ...health, summary: 'Whether the gateway lives' },
  'GET /health/readiness': { ...health, summary: 'Whether a request would be answered' },
  'GET /health': { tag: 'Health', summary: 'The fleet' },
  'GET /v1/queue': { tag: 'Health', summary: 'The queues of the model groups' },
  'GET /metrics': { tag: 'Health', summary: 'Metrics for Prometheus', produces: 'text/plain' },
  'GET /openapi.json': { tag: 'Documents', summary: 'This document', open: true },
  'GET /docs': { tag: 'Documents', summary: 'It as a page', open: true, produces: 'text/html' },
}
