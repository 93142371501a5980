// A value that fits a JSON schema well enough to be parsed by it: for simulated tool calls and
// structured output.
import { isFields } from './request-fields.ts'

const maxDepth = 8
const maxNodes = 2_000

/** Understands types, enum, const, default, properties, items, anyOf/oneOf/allOf and local $ref. */
export function valueFor(schema: unknown): unknown {
  let nodes = 0
  return build(schema, 0)

  function build(node: unknown, depth: number): unknown {
    nodes += 1
    if (!isFields(node) || depth > maxDepth || nodes > maxNodes) return null
    if ('const' in node) return node.const
    if ('default' in node) return node.default
    if (Array.isArray(node.enum)) return node.enum[0]
    if (typeof node.$ref === 'string') return build(resolveRef(schema, node.$ref), depth + 1)
    const [choice] = [node.anyOf, node.oneOf, node.allOf].find(Array.isArray) ?? []
    if (choice !== undefined) return build(choice, depth + 1)
    const type = Array.isArray(node.type) ? node.type[0] : node.type
    switch (type) {
      case 'string':
        return textFor(node)
      case 'integer':
      case 'number':
        return numberFor(node)
      case 'boolean':
        return true
      case 'array':
        return Array.from({ length: Math.min(atLeast(node.minItems, 1), 10) }, () =>
          build(node.items ?? {}, depth + 1),
        )
      case 'null':
        return null
      default:
        return objectFor(node, depth)
    }
  }

  function objectFor(node: Fields, depth: number): Fields {
    const properties = isFields(node.properties) ? node.properties : {}
    const entries = Object.entries(properties)
    return Object.fromEntries(entries.map(([name, inner]) => [name, build(inner, depth + 1)]))
  }
}

type Fields = Record<string, unknown>

const formats: Record<string, string> = {
  'date-time': '2026-01-01T00:00:00Z',
  date: '2026-01-01',
  time: '00:00:00Z',
  email: 'lorem@example.com',
  uri: 'https://example.com/',
  uuid: '00000000-0000-4000-8000-000000000000',
}

function textFor({ format, minLength }: Fields): string {
  const text = (typeof format === 'string' ? formats[format] : undefined) ?? 'lorem'
  return text.padEnd(Math.min(atLeast(minLength, 0), 1_000), ' lorem')
}

function numberFor({ minimum }: Fields): number {
  return typeof minimum === 'number' ? Math.ceil(minimum) : 1
}

function atLeast(value: unknown, floor: number): number {
  return typeof value === 'number' && value > floor ? value : floor
}

/** `#/$defs/name`, within the same schema. */
function resolveRef(root: unknown, ref: string): unknown {
  let node = root
  for (const part of ref.replace(/^#\/?/, '').split('/').filter(Boolean)) {
    node = isFields(node) ? node[part] : undefined
  }
  return node
}
