// The ids of responses and of their items. An item's id names the response that it is of, so that what
// refers to an item alone can be found.
import { timeOrderedId } from '../../ids.ts'

const responseId = /^resp_([0-9a-f]{32})$/
const itemId = /^[a-z]{2,4}_([0-9a-f]{32})[0-9a-f]{4,6}$/

export function newResponseId(): string {
  return `resp_${timeOrderedId().replaceAll('-', '')}`
}

/** @param index its place among the items of this response, input or output */
export function itemIdOf(response: string, prefix: string, index: number): string {
  return `${prefix}_${response.slice('resp_'.length)}${index.toString(16).padStart(4, '0')}`
}

/** Whether the text may be one of ours: what subjects and keys are made of. */
export function isResponseId(text: string): boolean {
  return responseId.test(text)
}

/** Of the response that an item is of; null where no item of ours has such an id. */
export function responseOfItem(id: string): string | null {
  const hex = itemId.exec(id)?.[1]
  return hex === undefined ? null : `resp_${hex}`
}
