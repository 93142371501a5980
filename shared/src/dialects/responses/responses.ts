// OpenAI's Responses API as a dialect: pure translations, without what is kept of a response (ids that
// can be asked for, the conversation before it), which is the gateway's.
import { errorBody } from '../../contracts/errors.ts'
import { parseFields } from '../../parse-fields.ts'
import type { Dialect, DialectStream, Fields } from '../dialect.ts'
import { responsesRequest } from './request.ts'
import { newResponseId } from './response-ids.ts'
import type { Asked } from './response-object.ts'
import { canonicalOf } from './to-canonical.ts'
import { chunkOf } from './whole-reply.ts'
import { type Ending, eventText, ResponseWriter } from './writer.ts'

export const responses: Dialect = {
  name: 'responses',
  streamType: 'text/event-stream; charset=utf-8',
  toCanonical(body) {
    const request = parseFields(responsesRequest, body, 'request')
    return { operation: 'chat', body: canonicalOf(request) }
  },
  answer: (canonical, request) => responseTo(canonical, askedNow(request)),
  stream: (request) => streamOf(() => askedNow(request)),
  queued: (position) => `: queued position=${position}\n\n`,
  errorBody,
}

/**
 * @param usage as the response shows it; that of the reply by default
 * @throws PenstockError `upstream_invalid_response`
 */
export function responseTo(canonical: Fields, asked: Asked, usage?: Fields): Fields {
  const writer = new ResponseWriter(asked, () => {})
  const { chunk, usage: reported } = chunkOf(canonical)
  writer.take(chunk)
  return writer.whole(usage ?? reported)
}

/** @param onResponse told of the response at its end, be it whole or not */
export function streamOf(
  asked: () => Asked,
  onResponse: (response: Fields) => void = () => {},
): DialectStream {
  let text = ''
  let opened: ResponseWriter | null = null
  const writer = () => {
    opened ??= new ResponseWriter(asked(), (event) => {
      text += eventText(event)
    })
    return opened
  }
  const taken = () => {
    const bytes = Buffer.from(text)
    text = ''
    return bytes
  }
  const close = ({ response, last }: Ending) => {
    onResponse(response)
    text += eventText(last)
    return taken()
  }
  return {
    push(sse) {
      writer().push(sse)
      return text === '' ? null : taken()
    },
    end: ({ usage }) => close(writer().end(usage)),
    error(info) {
      if (opened?.begun) return close(opened.fail(info))
      // No response has begun that could be said to have failed.
      const { code, message, param } = info
      text += eventText({ type: 'error', sequence_number: 0, code, message, param })
      return taken()
    },
  }
}

function askedNow(request: Fields): Asked {
  return {
    id: newResponseId(),
    createdAt: Math.floor(Date.now() / 1000),
    request: parseFields(responsesRequest, request, 'request'),
  }
}
