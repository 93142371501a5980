// The OpenAPI document as one page that needs nothing from anywhere: no script, no font, no other host.
import type { OpenApiDocument } from './document.ts'

const style = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2rem 0 .5rem }
details { border-top: 1px solid #8884 }
summary { cursor: pointer; padding: .4rem 0 }
code, pre { font: 13px/1.45 ui-monospace, monospace }
pre { overflow: auto; max-height: 30rem; padding: .8rem; background: #8881 }
.method { display: inline-block; width: 4rem; font-weight: 600 }
:root { color-scheme: light dark }`

export function openApiPage(document: OpenApiDocument): string {
  const byTag = new Map<string, string[]>()
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      for (const tag of operation.tags) {
        const rows = byTag.get(tag) ?? []
        rows.push(operationHtml(method, path, operation))
        byTag.set(tag, rows)
      }
    }
  }
  const sections = [...byTag].map(([tag, rows]) => `<h2>${escaped(tag)}</h2>\n${rows.join('\n')}`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Penstock: the API</title>
<style>${style}</style>
</head>
<body>
<h1>Penstock: the API</h1>
<p>${escaped(String(document.info.description))} The same as <a href="openapi.json">openapi.json</a>.</p>
${sections.join('\n')}
</body>
</html>
`
}

function operationHtml(
  method: string,
  path: string,
  operation: OpenApiDocument['paths'][string][string],
): string {
  const { tags: _tags, summary, operationId: _id, responses, ...asked } = operation
  const answered = Object(responses)['200']
  const text = JSON.stringify({ ...asked, answer: answered?.content }, null, 2)
  return `<details><summary><span class="method">${method.toUpperCase()}</span> <code>${escaped(path)}</code> ${escaped(summary)}</summary><pre>${escaped(text)}</pre></details>`
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
