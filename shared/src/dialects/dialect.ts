// A dialect: the form of another API's requests and answers, translated to and from the canonical one
// (OpenAI's chat completions). Adding one is a folder beside this file and a line in table.ts.
//
// The client's own bytes travel to the worker. It translates them with `toCanonical`, unless its
// provider speaks the dialect itself: then the bytes of both go through as they are. What comes back
// canonical the gateway translates with `answer` and `stream`.
import type { FrameEnd } from '../bus/frame-codec.ts'
import type { ErrorInfo } from '../contracts/errors.ts'
import type { DialectName, TextOperation } from '../contracts/request.ts'

export type Fields = Record<string, unknown>
export type ClientDialect = Exclude<DialectName, 'chat'>

export interface Canonical {
  operation: TextOperation
  body: Fields
}

export interface Dialect {
  name: ClientDialect
  /** Of a stream of its answers. */
  streamType: string
  /** The client's headers that an upstream of this dialect is to see; names in lower case. */
  headers?: readonly string[]
  /**
   * The request in OpenAI's form. Pure: the gateway calls it to check and to read a request, the
   * worker to have it answered.
   * @throws PenstockError `invalid_request` with the `param` as the client knows it
   */
  toCanonical(body: Fields): Canonical
  /** What of the request only an upstream of this dialect can do; null: all can be translated. */
  untranslatable?(body: Fields): { param: string; message: string } | null
  /**
   * A whole canonical reply as the client's.
   * @param request as the client sent it
   * @param end what the answer took, where that is known
   */
  answer(canonical: Fields, request: Fields, end?: FrameEnd): Fields
  /** @param request as the client sent it */
  stream(request: Fields): DialectStream
  /** What goes out while the request waits at this position; null: nothing can. */
  queued(position: number): string | null
  /** @param requestId as the response's headers name it */
  errorBody(info: ErrorInfo, requestId: string): Fields
  /**
   * The text in each event (or whole reply) of an upstream's own bytes: what tokens are counted by
   * where it reports none. To be given where a provider passes this dialect through.
   */
  nativeTexts?(chunks: readonly Uint8Array[]): string[]
}

/** One stream, from canonical events to the client's. */
export interface DialectStream {
  /** @param sse canonical events, cut anywhere. @returns null where nothing is to be written yet */
  push(sse: Uint8Array): Uint8Array | null
  /** The last events, once the answer is complete. */
  end(end: FrameEnd): Uint8Array
  /** The last event of a stream that failed after it had begun. */
  error(info: ErrorInfo): Uint8Array
}
