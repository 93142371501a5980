// Rows as CSV (RFC 4180), safe to open in a spreadsheet: text that one would run as a formula is
// quoted with an apostrophe, since end users and tags are whatever a client sent.

type Cell = string | number | boolean | null | undefined
export type CsvRow = Record<string, Cell>

/** With the line's end. */
export function csvHead(columns: readonly string[]): string {
  return line(columns)
}

/** The columns that the row has, in their order; with the line's end. */
export function csvLine(columns: readonly string[], row: CsvRow): string {
  return line(columns.map((column) => row[column]))
}

function line(cells: readonly Cell[]): string {
  return `${cells.map(cellText).join(',')}\r\n`
}

function cellText(cell: Cell): string {
  if (cell === null || cell === undefined) return ''
  const text = typeof cell === 'string' ? withoutFormula(cell) : String(cell)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** OWASP, "CSV Injection". A negative amount is a number, though it is written as text. */
function withoutFormula(text: string): string {
  if (/^-?\d+(\.\d+)?$/.test(text)) return text
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
}
