// What a request only points to, put in its place: the conversation behind `previous_response_id`, and
// items that are referred to by their ids. Everybody finds but their own.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type InputItem, inputItem } from '@penstock/shared/dialects/responses/input-items'
import type { ResponsesRequest } from '@penstock/shared/dialects/responses/request'
import { itemIdOf, responseOfItem } from '@penstock/shared/dialects/responses/response-ids'
import { z } from 'zod'
import { maxBodyBytes } from '../read-body.ts'
import type { ResponseStore, StoredResponse } from './response-store.ts'

export interface Conversation {
  /** The request's own items, each with an id. */
  own: InputItem[]
  /** All of them, what came before first; the same for an equal request. */
  all: InputItem[]
  /** Nothing had to be put in place: the request is as its client sent it. */
  isPlain: boolean
}

const maxResponses = 1_000
/** Ids of input items count from here, so that none is also an output item's. */
const firstInput = 0x10_0000
const prefixes = {
  message: 'msg',
  reasoning: 'rs',
  function_call: 'fc',
  function_call_output: 'fco',
  item_reference: 'ref',
} as const
const items = z.array(inputItem)

/**
 * @param id the new response's
 * @throws PenstockError `not_found`, `invalid_request` (the one before has not ended), both with the param;
 *   `request_too_large`; `service_unavailable`
 */
export async function readConversation(
  store: ResponseStore,
  owner: string,
  id: string,
  { input, previous_response_id: previous }: ResponsesRequest,
): Promise<Conversation> {
  const history = previous ? await historyOf(store, owner, previous) : []
  const found = new Map<string, StoredResponse | null>()
  const own: InputItem[] = []
  const all = history
  for (const [index, item] of input.entries()) {
    const isReference = item.type === 'item_reference'
    const whole = isReference ? await referredItem(store, owner, item.id, index, found) : item
    all.push(whole)
    own.push({ ...whole, id: whole.id ?? itemIdOf(id, prefixes[whole.type], firstInput + index) })
  }
  const isPlain = !previous && input.every(({ type }) => type !== 'item_reference')
  return { own, all, isPlain }
}

async function historyOf(
  store: ResponseStore,
  owner: string,
  previous: string,
): Promise<InputItem[]> {
  const turns: unknown[][] = []
  let bytes = 0
  let next: string | null = previous
  while (next !== null) {
    const found: StoredResponse | null = await store.get(next, owner)
    if (found === null) throw notFound(next)
    const { response } = found
    if (response.status === 'queued' || response.status === 'in_progress') {
      const message = `The response \`${next}\` has not ended yet.`
      throw new PenstockError('invalid_request', message, { param: 'previous_response_id' })
    }
    const output = Array.isArray(response.output) ? response.output : []
    const turn = [...found.input, ...output]
    bytes += JSON.stringify(turn).length
    if (bytes > maxBodyBytes || turns.length >= maxResponses) {
      const message = 'The conversation before this request is too long.'
      throw new PenstockError('request_too_large', message, { param: 'previous_response_id' })
    }
    turns.push(turn)
    const before: unknown = response.previous_response_id
    next = typeof before === 'string' ? before : null
  }
  return items.parse(turns.reverse().flat())
}

async function referredItem(
  store: ResponseStore,
  owner: string,
  id: string,
  index: number,
  found: Map<string, StoredResponse | null>,
): Promise<InputItem> {
  const of = responseOfItem(id)
  if (of !== null && !found.has(of)) found.set(of, await store.get(of, owner))
  const stored = of === null ? null : found.get(of)
  const output = stored?.response.output
  const candidates: unknown[] = [...(Array.isArray(output) ? output : []), ...(stored?.input ?? [])]
  for (const candidate of candidates) {
    const item = inputItem.safeParse(candidate)
    if (item.success && item.data.id === id) return item.data
  }
  const message = `Item with id '${id}' not found.`
  throw new PenstockError('not_found', message, { param: `input[${index}].id` })
}

function notFound(id: string): PenstockError {
  const message = `Previous response with id '${id}' not found.`
  return new PenstockError('not_found', message, { param: 'previous_response_id' })
}
