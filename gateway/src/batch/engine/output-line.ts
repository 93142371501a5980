// Lines of output and error files, as OpenAI writes them
// (https://platform.openai.com/docs/guides/batch#5-retrieve-the-results).
import type { ErrorInfo } from '@penstock/shared/contracts/errors'
import { timeOrderedId } from '@penstock/shared/ids'

/** @param body JSON text in one line */
export function answeredLine(requestId: string, customId: string, body: string): string {
  return withResponse(requestId, customId, 200, body)
}

/** @param body of the error's response */
export function failedLine(
  requestId: string,
  customId: string,
  { status }: ErrorInfo,
  body: object,
): string {
  return withResponse(requestId, customId, status, JSON.stringify(body))
}

const unasked = {
  batch_expired: 'This request could not be executed before the completion window expired.',
  batch_cancelled: 'This request was not executed, because the batch was cancelled.',
} as const
export type UnaskedCode = keyof typeof unasked

/** Of a request that was never answered. */
export function unaskedLine(customId: string, code: UnaskedCode): string {
  const id = lineId(timeOrderedId())
  const error = { code, message: unasked[code] }
  return JSON.stringify({ id, custom_id: customId, response: null, error })
}

function withResponse(requestId: string, customId: string, status: number, body: string): string {
  const head = `{"id":"${lineId(requestId)}","custom_id":${JSON.stringify(customId)},"response":`
  return `${head}{"status_code":${status},"request_id":"${requestId}","body":${body}},"error":null}`
}

function lineId(requestId: string): string {
  return `batch_req_${requestId.replaceAll('-', '')}`
}
