// A stream of bytes line by line, without ever holding more than one line.

/** A request is never larger (32 MB); a longer line is refused. */
export const maxLineBytes = 32_000_000
const lineFeed = 10
const carriageReturn = 13

export class LineTooLong extends Error {
  /** Counted from 1. */
  readonly number: number

  constructor(number: number) {
    super(`Line ${number} is longer than ${maxLineBytes / 1_000_000} MB.`)
    this.number = number
  }
}

/**
 * The lines without their ends; a last one without an end counts, an empty one after the last end
 * does not.
 * @throws LineTooLong; whatever the source fails with
 */
export async function* byteLines(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  let rest: Uint8Array[] = []
  let restBytes = 0
  let number = 0
  const take = (last: Uint8Array): Uint8Array => {
    number += 1
    if (restBytes + last.length > maxLineBytes) throw new LineTooLong(number)
    const whole = rest.length === 0 ? last : Buffer.concat([...rest, last])
    rest = []
    restBytes = 0
    return whole.at(-1) === carriageReturn ? whole.subarray(0, -1) : whole
  }
  for await (const chunk of source) {
    let start = 0
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
      yield take(chunk.subarray(start, end))
      start = end + 1
    }
    if (start === chunk.length) continue
    rest.push(chunk.subarray(start))
    restBytes += chunk.length - start
    if (restBytes > maxLineBytes) throw new LineTooLong(number + 1)
  }
  if (restBytes > 0) yield take(Buffer.alloc(0))
}
