// The HTTP surface: which route answers what. Each path stands with and without `/v1`.
import { PenstockError } from '@penstock/shared/contracts/errors'
import express, { type ErrorRequestHandler, type Express } from 'express'
import { mountAdmin } from './access/admin-routes.ts'
import { withoutKeys } from './access/key-texts.ts'
import { requireAdmin } from './admin.ts'
import { mountBatches } from './batch/routes/mount.ts'
import { correlate } from './correlation.ts'
import type { Gateway } from './gateway.ts'
import { mountOpenApi } from './openapi/mount.ts'
import { mountResponses } from './responses/mount.ts'
import { imageRequest, moderationRequest, rerankRequest } from './routed-schemas.ts'
import { mountAudio } from './routes/audio.ts'
import { mountAzure } from './routes/azure.ts'
import { health, liveliness, readiness } from './routes/health.ts'
import { failWith, inferenceRoute } from './routes/inference.ts'
import { messagesRoutes } from './routes/messages.ts'
import { getModel, listModels } from './routes/models.ts'
import { mountOllama } from './routes/ollama.ts'
import { queue } from './routes/queue.ts'
import { dailyActivity, globalSpend, spendBy, spendReport } from './routes/reports.ts'
import { spendContent, spendLogs } from './routes/spend.ts'
import { chatRequest, completionRequest, embeddingRequest } from './schemas.ts'

export function createApp(gateway: Gateway): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', 'simple')
  app.use(correlate)

  const both = (path: string) => [`/v1${path}`, path]
  app.post(both('/chat/completions'), inferenceRoute(gateway, 'chat', chatRequest))
  app.post(both('/completions'), inferenceRoute(gateway, 'completion', completionRequest))
  app.post(both('/embeddings'), inferenceRoute(gateway, 'embedding', embeddingRequest))
  app.post(both('/moderations'), inferenceRoute(gateway, 'moderation', moderationRequest))
  app.post(both('/rerank'), inferenceRoute(gateway, 'rerank', rerankRequest))
  app.post(both('/images/generations'), inferenceRoute(gateway, 'image', imageRequest))
  mountAudio(app, gateway)
  const { answer: messages, countTokens } = messagesRoutes(gateway)
  app.post(both('/messages'), messages)
  app.post(both('/messages/count_tokens'), countTokens)
  app.get(both('/models'), listModels(gateway))
  app.get(both('/models/*id'), getModel(gateway))
  mountAzure(app, gateway)
  mountOllama(app, gateway)
  mountResponses(app, gateway)

  app.get(['/health/liveliness', '/health/liveness'], liveliness)
  app.get('/health/readiness', readiness(gateway))
  app.get('/health', health(gateway))
  const admin = requireAdmin(gateway)
  app.get(both('/queue'), admin, queue(gateway))
  app.get('/metrics', admin, gateway.metrics.handler)
  app.get('/spend/logs', spendLogs(gateway))
  app.get('/spend/logs/:request_id/content', spendContent(gateway))
  for (const one of ['key', 'user', 'team', 'model', 'tag'] as const) {
    app.get(`/spend/${one}s`, spendBy(gateway, one))
  }
  app.get('/global/spend', globalSpend(gateway))
  app.get('/global/spend/report', spendReport(gateway))
  app.get('/user/daily/activity', dailyActivity(gateway, 'user'))
  app.get('/team/daily/activity', dailyActivity(gateway, 'team'))

  mountAdmin(app, gateway)
  mountBatches(app, gateway)
  mountOpenApi(app)

  app.use((req) => {
    const path = withoutKeys(req.path)
    throw new PenstockError('not_found', `There is no ${req.method} ${path}.`)
  })
  const onError: ErrorRequestHandler = (error, _req, res, _next) => {
    // The router's own, for a path with a broken percent-encoding.
    const isPath = error instanceof URIError
    const message = 'The path cannot be decoded.'
    failWith(gateway, isPath ? new PenstockError('invalid_request', message) : error, res)
  }
  app.use(onError)
  return app
}
