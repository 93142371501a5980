// What differs between Claude's generations, told by the version in a model's name, wherever it is
// served (claude-3-7-sonnet-latest, us.anthropic.claude-sonnet-4-5-20250929-v1:0).

export interface ClaudeTraits {
  /** How it is made to think: with a budget of tokens, by an effort, or not at all. */
  thinking: 'budget' | 'effort' | 'never'
  /** Takes `temperature`, `top_p` and `top_k`. */
  sampling: boolean
  /** Keeps to a JSON schema, of an answer and of a strict tool's input. */
  schemas: boolean
}

/**
 * From Anthropic's pages "Adaptive thinking", "Structured outputs" and its migration guides: thinking
 * came with 3.7, schemas with 4.5, adaptive thinking with 4.6, and 4.7 took sampling away. A Claude
 * without a version is a preview of a newer one (claude-mythos-preview); what is not called Claude
 * is somebody else's server that speaks the Messages API, of which only the older half is assumed.
 */
export function claudeTraits(model: string): ClaudeTraits {
  const version = versionOf(model)
  return {
    thinking: version >= 406 ? 'effort' : version === 0 || version >= 307 ? 'budget' : 'never',
    sampling: version < 407,
    schemas: version >= 405,
  }
}

/** 405 for 4.5; 0: no Claude. */
function versionOf(model: string): number {
  const name = /claude(.*)$/i.exec(model)?.[1]
  if (name === undefined) return 0
  // A date of eight digits is no version, and neither is AWS's `-v1:0`.
  const found = /[-.](\d{1,2})(?:[-.](\d{1,2}))?(?=$|[-.:@])/.exec(name.replace(/-v\d.*$/, ''))
  if (found === null) return Number.POSITIVE_INFINITY
  return Number(found[1]) * 100 + Number(found[2] ?? 0)
}
