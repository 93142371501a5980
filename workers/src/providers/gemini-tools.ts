// OpenAI's tools and tool choice as Gemini's function declarations and calling modes
// (ai.google.dev/api/caching#FunctionDeclaration, #FunctionCallingConfig).
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { parseField } from './request-fields.ts'

type Fields = Record<string, unknown>

const tools = z.array(
  z.looseObject({
    type: z.string(),
    function: z
      .object({
        name: z.string(),
        description: z.string().nullish(),
        parameters: z.record(z.string(), z.unknown()).nullish(),
      })
      .optional(),
  }),
)
const choice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
])
const modes = { none: 'NONE', auto: 'AUTO', required: 'ANY' } as const

/** @throws PenstockError `unsupported_parameter` for a tool that is no function */
export function toolFields(body: Fields): Fields {
  const offered = body.tools === undefined ? [] : parseField(tools, body.tools, 'tools')
  if (offered.length === 0) return {}
  const declarations = offered.map((tool, index) => {
    if (tool.function === undefined) {
      const param = `tools[${index}].type`
      const message = 'Gemini takes function tools only.'
      throw new PenstockError('unsupported_parameter', message, { param })
    }
    const { name, description, parameters } = tool.function
    return {
      name,
      ...(description ? { description } : {}),
      ...(parameters ? { parametersJsonSchema: parameters } : {}),
    }
  })
  return { tools: [{ functionDeclarations: declarations }], ...choiceFields(body.tool_choice) }
}

function choiceFields(value: unknown): Fields {
  if (value === undefined) return {}
  const wanted = parseField(choice, value, 'tool_choice')
  const config =
    typeof wanted === 'string'
      ? { mode: modes[wanted] }
      : { mode: 'ANY', allowedFunctionNames: [wanted.function.name] }
  return { toolConfig: { functionCallingConfig: config } }
}
