// The table of what answers the operations on keys.
import type { keyOperations } from '@penstock/shared/contracts/admin/keys'
import type { HandlersOf } from './admin-context.ts'
import { block, regenerate, unblock, update } from './key-change.ts'
import { remove } from './key-delete.ts'
import { generate } from './key-generate.ts'
import { info, list } from './key-read.ts'

export const keyHandlers: HandlersOf<typeof keyOperations> = {
  'key.generate': generate,
  'key.info': info,
  'key.list': list,
  'key.update': update,
  'key.regenerate': regenerate,
  'key.block': block,
  'key.unblock': unblock,
  'key.delete': remove,
}
