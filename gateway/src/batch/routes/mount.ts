// Which route of files and batches answers what. Each path stands with and without `/v1`.
import type { Express } from 'express'
import type { Gateway } from '../../gateway.ts'
import {
  getBatch,
  getBatches,
  getDeadLetters,
  postBatch,
  postCancel,
  postPaused,
  postRetry,
} from './batches.ts'
import { createFile, deleteFile, getFile, getFileContent, getFiles } from './files.ts'
import { messageBatchRoutes } from './message-batches.ts'
import { boardPath, queueBoard } from './queue-board.ts'

export function mountBatches(app: Express, gateway: Gateway): void {
  const both = (path: string) => [`/v1${path}`, path]
  app.post(both('/files'), createFile(gateway))
  app.get(both('/files'), getFiles(gateway))
  app.get(both('/files/:file_id'), getFile(gateway))
  app.get(both('/files/:file_id/content'), getFileContent(gateway))
  app.delete(both('/files/:file_id'), deleteFile(gateway))

  app.post(both('/batches'), postBatch(gateway))
  app.get(both('/batches'), getBatches(gateway))
  app.get(both('/batches/:batch_id'), getBatch(gateway))
  app.post(both('/batches/:batch_id/cancel'), postCancel(gateway))
  app.post(both('/batches/:batch_id/pause'), postPaused(gateway, true))
  app.post(both('/batches/:batch_id/resume'), postPaused(gateway, false))
  app.post(both('/batches/:batch_id/retry'), postRetry(gateway))
  app.get(both('/batches/:batch_id/dead_letters'), getDeadLetters(gateway))

  const ofMessages = messageBatchRoutes(gateway)
  const messageBatch = both('/messages/batches/:message_batch_id')
  app.post(both('/messages/batches'), ofMessages.create)
  app.get(both('/messages/batches'), ofMessages.list)
  app.get(messageBatch, ofMessages.retrieve)
  app.delete(messageBatch, ofMessages.remove)
  app.post(both('/messages/batches/:message_batch_id/cancel'), ofMessages.cancel)
  app.get(both('/messages/batches/:message_batch_id/results'), ofMessages.results)

  app.use(boardPath, queueBoard(gateway))
}
