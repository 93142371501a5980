import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { BatchObject } from '@penstock/shared/contracts/batches'
import type { BatchApi } from './api.ts'
import { ApiError } from './api-error.ts'
import { Interrupted } from './batch-error.ts'
import { newState } from './batch-to-end.ts'
import { aBatch } from './fixtures/batch.ts'
import { type RunState, readState } from './state-file.ts'
import { submit } from './submit.ts'

let folder: string
let statePath: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-submit-'))
  statePath = join(folder, 'state.json')
})
after(() => rm(folder, { recursive: true }))

const file = {
  id: 'file-1',
  object: 'file' as const,
  bytes: 1,
  created_at: 0,
  expires_at: null,
  filename: 'in.jsonl',
  purpose: 'batch',
  status: 'processed' as const,
}
const options = {
  completionWindow: '24h',
  notBefore: undefined,
  window: undefined,
  onBudgetExceeded: 'fail' as const,
  cancelOnInterrupt: false,
  fresh: false,
}
const lost = () => new ApiError('no answer', null)

/** A gateway that makes batches; the first `lostAnswers` creations are done, and nobody is told. */
function gateway({ lostAnswers = 0, refusals = 0 } = {}) {
  const made: BatchObject[] = []
  const asked = { uploads: 0, creations: 0 }
  const never = () => Promise.reject(new Error('not asked here'))
  const api: BatchApi = {
    checkModel: never,
    batch: never,
    act: never,
    content: never,
    upload: async () => {
      asked.uploads += 1
      return file
    },
    async create({ metadata = null }) {
      asked.creations += 1
      if (asked.creations <= refusals) throw lost()
      made.unshift(aBatch({ id: `batch_${made.length}`, metadata, created_at: Date.now() / 1_000 }))
      if (asked.creations - refusals <= lostAnswers) throw lost()
      return made[0] ?? never()
    },
    // Two a page, so that a search has to turn pages.
    async list({ after: last }) {
      const from = last === undefined ? 0 : made.findIndex(({ id }) => id === last) + 1
      return { batches: made.slice(from, from + 2), hasMore: made.length > from + 2 }
    },
  }
  const submitWith = (state: RunState, signal = new AbortController().signal) => {
    const prepared = {
      path: '',
      lines: 1,
      bytes: 1,
      sha256: '',
      endpoint: '/v1/chat/completions' as const,
      remove: async () => {},
    }
    const filename = 'in.jsonl'
    return submit({ api, statePath, state, prepared, filename, options, signal, onUpload() {} })
  }
  return { made, asked, submitWith }
}

const fresh = () => newState('http://gateway', 'hash', Date.now())

test('a batch whose answer was lost is found, not made again', async () => {
  const { made, asked, submitWith } = gateway({ lostAnswers: 1 })
  const batch = await submitWith(fresh())
  assert.equal(made.length, 1)
  assert.deepEqual(asked, { uploads: 1, creations: 1 })
  assert.equal((await readState(statePath))?.batch_id, batch.id)
})

test('a creation that never arrived is tried again, a few times', async () => {
  const passing = gateway({ refusals: 2 })
  await passing.submitWith(fresh())
  assert.equal(passing.made.length, 1)
  const gone = gateway({ refusals: 9 })
  await assert.rejects(gone.submitWith(fresh()), ApiError)
  assert.deepEqual(gone.asked, { uploads: 1, creations: 3 })
})

test('one that was killed before it heard of its batch finds it behind newer ones', async () => {
  const { made, submitWith } = gateway()
  const state = fresh()
  const mine = await submitWith(state)
  for (let others = 0; others < 5; others += 1) await submitWith(fresh())
  assert.equal((await submitWith({ ...state, batch_id: null })).id, mine.id)
  assert.equal(made.length, 6)
})

test('Ctrl-C after the upload makes no batch, and the upload is used by the next try', async () => {
  const { made, asked, submitWith } = gateway()
  const state = fresh()
  await assert.rejects(submitWith(state, AbortSignal.abort()), Interrupted)
  assert.equal(made.length, 0)
  const kept = await readState(statePath)
  assert.ok(kept !== null)
  await submitWith(kept)
  assert.deepEqual(asked, { uploads: 1, creations: 1 })
})
