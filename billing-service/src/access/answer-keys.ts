// Answers the gateways' question whose key it is; each is asked of whichever billing service is free.
import type { Bus } from '@penstock/shared/bus/connect'
import { answer } from '@penstock/shared/bus/request-reply'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { explained } from './explained.ts'
import { lookUpKey } from './look-up-key.ts'

export interface AnswerKeysOptions {
  bus: Bus
  db: Kysely<Database>
  log: Logger
}

/** More are refused: whoever asks that often has been waiting for longer than it wants to. */
const maxUnderWay = 1_000

/** @returns stop */
export function answerKeys({ bus, db, log }: AnswerKeysOptions): () => void {
  const { keyLookup } = channels
  let underWay = 0
  const sub = answer(
    bus,
    keyLookup,
    keyLookup.subject(),
    async (question) => {
      if (underWay >= maxUnderWay) {
        throw new PenstockError('service_unavailable', 'Too many keys are being looked up.')
      }
      underWay += 1
      try {
        return await lookUpKey(db, question)
      } catch (error) {
        throw explained(error, 'a key', log)
      } finally {
        underWay -= 1
      }
    },
    'billing',
  )
  return () => sub.unsubscribe()
}
