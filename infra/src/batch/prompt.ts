// What is asked about a text: the prompt file's words with the text in them, as a line of a batch.

/** `{{text}}` and `{{name}}` are filled in; a prompt without `{{text}}` stands before the text. */
export function promptFor(prompt: string, name: string, text: string): string {
  // In one pass: what a text holds is never filled in.
  const filled = prompt.replace(/\{\{(text|name)\}\}/g, (_, field) =>
    field === 'text' ? text : name,
  )
  return prompt.includes('{{text}}') ? filled : `${filled.trimEnd()}\n\n${text}`
}

export function chatLine(model: string, name: string, content: string): string {
  return JSON.stringify({
    custom_id: name,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model, messages: [{ role: 'user', content }] },
  })
}
