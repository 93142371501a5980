// A client's JSON schema in the subset that Anthropic's structured outputs take. What the subset
// cannot say is told to the model in the description, as Anthropic's own SDKs do it.

type Schema = Record<string, unknown>

/** Deeper than any schema that is meant; the rest is passed as it is. */
const maxDepth = 64

/** Anthropic's page "Structured outputs", "JSON Schema limitations". */
const kept = new Set(['$ref', 'const', 'description', 'enum', 'required', 'title', 'type'])
const maps = new Set(['$defs', 'definitions', 'properties'])
const lists = new Set(['allOf', 'anyOf'])
const formats = new Set([
  'date',
  'date-time',
  'duration',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'time',
  'uri',
  'uuid',
])

/**
 * The schema to be sent; null where it has an object with keys of any name, which the subset cannot
 * express at all.
 */
export function strictSchema(schema: Schema): Schema | null {
  return hasOpenObject(schema, 0) ? null : subset(schema, 0)
}

function subset(schema: Schema, depth: number): Schema {
  if (depth > maxDepth) return schema
  const inner = (value: unknown) => (isSchema(value) ? subset(value, depth + 1) : value)
  const out: Schema = {}
  const told: string[] = []
  for (const [name, value] of Object.entries(schema)) {
    if (name === '$schema' || name === 'additionalProperties') continue
    if (kept.has(name)) out[name] = value
    else if (maps.has(name) && isSchema(value)) {
      out[name] = Object.fromEntries(Object.entries(value).map(([key, one]) => [key, inner(one)]))
    } else if (lists.has(name) && Array.isArray(value)) out[name] = value.map(inner)
    else if (name === 'oneOf' && Array.isArray(value)) out.anyOf = value.map(inner)
    else if (name === 'items') out.items = inner(value)
    else if (name === 'minItems' && (value === 0 || value === 1)) out.minItems = value
    else if (name === 'format' && formats.has(String(value))) out.format = value
    else told.push(`${name}: ${JSON.stringify(value)}`)
  }
  if (isObjectType(schema)) out.additionalProperties = false
  if (told.length > 0) {
    const given = typeof schema.description === 'string' ? `${schema.description}\n\n` : ''
    out.description = `${given}{${told.join(', ')}}`
  }
  return out
}

function hasOpenObject(value: unknown, depth: number): boolean {
  if (depth > maxDepth || typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return value.some((one) => hasOpenObject(one, depth + 1))
  const schema = value as Schema
  const { additionalProperties: more, properties } = schema
  if (isSchema(more) || more === true || 'patternProperties' in schema) return true
  if (isObjectType(schema) && properties === undefined && more !== false) return true
  return Object.values(schema).some((one) => hasOpenObject(one, depth + 1))
}

function isObjectType({ type, properties }: Schema): boolean {
  return (
    type === 'object' || (Array.isArray(type) && type.includes('object')) || isSchema(properties)
  )
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
