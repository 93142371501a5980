// Postgres's own text form of an array, for parameters with a row's column in each: pg's conversion
// takes three times as long. https://www.postgresql.org/docs/17/arrays.html#ARRAYS-IO

type Element = string | number | boolean | null | object

const special = /["\\]/
const allSpecial = /["\\]/g

/** Arrays within it become texts of arrays, other objects JSON. */
export function arrayText(elements: readonly Element[]): string {
  return `{${elements.map(elementText).join(',')}}`
}

function elementText(element: Element): string {
  if (element === null) return 'NULL'
  if (typeof element === 'string') return quoted(element)
  if (typeof element !== 'object') return String(element)
  return quoted(Array.isArray(element) ? arrayText(element) : JSON.stringify(element))
}

function quoted(text: string): string {
  return `"${special.test(text) ? text.replace(allSpecial, '\\$&') : text}"`
}
