// Why the gateway did not do what it was asked, in words that say what to do.
import { z } from 'zod'
import { BatchError } from './batch-error.ts'

export class ApiError extends BatchError {
  /** Null: there was no answer, and whether it was done is unknown. */
  readonly status: number | null
  /** The field at fault, where the gateway names one. */
  readonly param: string | null

  constructor(
    message: string,
    status: number | null,
    { param = null, cause }: { param?: string | null; cause?: unknown } = {},
  ) {
    super(message, undefined, cause)
    this.name = 'ApiError'
    this.status = status
    this.param = param
  }

  /** It may go well a little later. */
  get isPassing(): boolean {
    return this.status === null || this.status === 429 || this.status >= 500
  }
}

const errorAnswer = z.object({
  error: z.object({ message: z.string().min(1), param: z.string().nullish().catch(null) }),
})
const maxMessage = 2_000
const maxErrorBytes = 64 * 1024

/** For a refusal that the gateway put into words. Reads the answer's body. */
export async function answered(
  response: Response,
  url: string,
  hasKey: boolean,
): Promise<ApiError> {
  const { status } = response
  const said = errorOf(await startOf(response))
  if (status === 401) {
    const advice = hasKey
      ? 'Check PENSTOCK_API_KEY or --key.'
      : 'Set PENSTOCK_API_KEY (or --key) to the key you were given.'
    return new ApiError(
      `The gateway wants another API key: ${said?.message ?? status}\n${advice}`,
      status,
    )
  }
  if (said === null) {
    const message = `${url} answered ${status}, and not as a Penstock gateway does. Is --url right?`
    return new ApiError(message, status)
  }
  return new ApiError(said.message.slice(0, maxMessage), status, { param: said.param ?? null })
}

const systemError = z.object({ code: z.string() })

/** For a request that got no answer, or only a part of one. */
export function unanswered(url: string, cause: unknown): ApiError {
  const root = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause
  const name = cause instanceof Error ? cause.name : ''
  if (name === 'TimeoutError') {
    return new ApiError(`The gateway at ${url} took too long to answer.`, null, { cause })
  }
  const code = systemError.safeParse(root).data?.code
  const because = code === undefined ? '' : ` (${code})`
  const message =
    `The gateway at ${url} cannot be reached${because}. Start one with \`npm start\`, ` +
    'or say where yours is with --url or PENSTOCK_URL.'
  return new ApiError(message, null, { cause })
}

/** For a success that is not what was asked for. */
export function unreadable(url: string, cause: unknown): ApiError {
  const message = `${url} does not answer as a Penstock gateway does. Is --url right?`
  return new ApiError(message, 200, { cause })
}

function errorOf(body: string): z.infer<typeof errorAnswer>['error'] | null {
  try {
    return errorAnswer.parse(JSON.parse(body)).error
  } catch {
    return null
  }
}

/** Whatever it is that answers, it is not read without end. */
async function startOf({ body }: Response): Promise<string> {
  if (body === null) return ''
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of body) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes >= maxErrorBytes) break
    }
  } catch {
    // Cut off: what came must do.
  }
  return Buffer.concat(chunks).toString('utf8')
}
