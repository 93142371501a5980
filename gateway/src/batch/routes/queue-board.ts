// GET /admin/queues: the jobs behind batches, on Bull Board's pages, for whoever has the master key. A
// browser asks for it by itself: any user name, and the master key as the password.
import type { IServerAdapter } from '@bull-board/api/typings/app'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Request, RequestHandler } from 'express'
import type { Gateway } from '../../gateway.ts'
import type { BatchQueue } from '../queue.ts'

export const boardPath = '/admin/queues'

export function queueBoard(gateway: Gateway): RequestHandler {
  let pages: RequestHandler | null = null
  return async (req, res, next) => {
    refuseOtherSites(req)
    takeBasicPassword(req)
    try {
      const { admin } = await gateway.authenticate(req)
      if (!admin) {
        throw new PenstockError('permission_denied', 'Only the master key may ask for this.')
      }
    } catch (error) {
      const { status } = toErrorInfo(error)
      if (status === 401) res.setHeader('www-authenticate', 'Basic realm="Penstock"')
      throw error
    }
    if (gateway.batch === null) {
      const message = 'Batches need a database: set DATABASE_URL for the gateway.'
      throw new PenstockError('service_unavailable', message)
    }
    pages ??= await pagesOf(await gateway.batch.queue())
    pages(req, res, next)
  }
}

/** Loaded when the first page is asked for. */
async function pagesOf(queue: BatchQueue): Promise<RequestHandler> {
  const [{ createBullBoard }, { BullMQAdapter }, { ExpressAdapter }] = await Promise.all([
    import('@bull-board/api'),
    import('@bull-board/api/bullMQAdapter'),
    import('@bull-board/express'),
  ])
  const board = await queue.board()
  const adapter = new ExpressAdapter()
  adapter.setBasePath(boardPath)
  createBullBoard({
    queues: [new BullMQAdapter(board)],
    // Its types are those of its own copy of the API, where another version is installed beside it.
    serverAdapter: adapter as unknown as IServerAdapter,
    options: { uiConfig: { boardTitle: 'Penstock' } },
  })
  return adapter.getRouter()
}

/** A browser that knows the password sends it along whichever site has it ask. */
function refuseOtherSites({ method, headers }: Request): void {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none') return
  // A page of ours that is only looked at is seen by nobody but who looks at it.
  if (method === 'GET') return
  throw new PenstockError('permission_denied', 'Another site may not ask for this.')
}

function takeBasicPassword({ headers }: Request): void {
  const [, encoded] = /^Basic\s+([A-Za-z0-9+/=]+)$/i.exec(headers.authorization ?? '') ?? []
  if (encoded === undefined) return
  const credentials = Buffer.from(encoded, 'base64').toString('utf8')
  headers.authorization = `Bearer ${credentials.slice(credentials.indexOf(':') + 1)}`
}
