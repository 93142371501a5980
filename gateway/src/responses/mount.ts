// The routes of the Responses API, each with and without `/v1`.
import type { Express } from 'express'
import type { Gateway } from '../gateway.ts'
import { cancelResponse, deleteResponse, getResponse, listInputItems } from '../routes/responses.ts'
import { createResponse } from './create-response.ts'

export function mountResponses(app: Express, gateway: Gateway): void {
  const both = (path: string) => [`/v1${path}`, path]
  app.post(both('/responses'), createResponse(gateway))
  app.get(both('/responses/:response_id'), getResponse(gateway))
  app.delete(both('/responses/:response_id'), deleteResponse(gateway))
  app.post(both('/responses/:response_id/cancel'), cancelResponse(gateway))
  app.get(both('/responses/:response_id/input_items'), listInputItems(gateway))
}
