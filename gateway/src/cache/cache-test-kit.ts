// For tests of what gives answers again: a request that runs when it is told to, and clients that note
// what they are told.
import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import { type ErrorCode, PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import type { AnswerSink } from '../answer.ts'
import type { Member } from './flight.ts'

export const head: FrameHead = {
  deploymentId: 'd',
  group: 'g',
  retries: 0,
  fallbacks: 0,
  upstreamMs: 5,
}
export const end: FrameEnd = { head: null, usage: noUsage, startedAt: 1, endedAt: 2 }

export interface TestClient extends Member {
  /** What it was told: data as its text, `end` after the last of it, an error as its code. */
  heard: string[]
  ended: Promise<void>
}

export interface Upstream {
  /** Whose request runs, or ran: the clients' names in order. */
  runs: string[]
  /** Those that were withdrawn. */
  withdrawn: string[]
  client(name: string): TestClient
  /** The run that began last says something. */
  say(text: string): void
  end(text?: string): void
  fail(code: ErrorCode): void
}

export function createUpstream(): Upstream {
  let current: AnswerSink | null = null
  let isFirst = true
  const upstream: Upstream = {
    runs: [],
    withdrawn: [],
    client(name) {
      const heard: string[] = []
      const { promise: ended, resolve } = Promise.withResolvers<void>()
      const sink: AnswerSink = {
        onQueued: (position) => heard.push(`queued ${position}`),
        onData: (_head, data) => {
          if (data.length > 0) heard.push(Buffer.from(data).toString())
        },
        onEnd(_head, data) {
          if (data.length > 0) heard.push(Buffer.from(data).toString())
          heard.push('end')
          resolve()
        },
        onError({ code }) {
          heard.push(code)
          resolve()
        },
      }
      const start: Member['start'] = (to) => {
        upstream.runs.push(name)
        current = to
        isFirst = true
        return () => upstream.withdrawn.push(name)
      }
      return { sink, start, heard, ended }
    },
    say(text) {
      current?.onData(isFirst ? head : null, Buffer.from(text))
      isFirst = false
    },
    end: (text = '') => current?.onEnd(isFirst ? head : null, Buffer.from(text), end),
    fail: (code) => current?.onError(new PenstockError(code, 'It failed.').info),
  }
  return upstream
}

/** Lets what was resolved meanwhile run on. */
export const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
