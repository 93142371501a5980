import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createApp } from '../app.ts'
import type { Gateway } from '../gateway.ts'
import { openApiDocument, openApiPath } from './document.ts'
import { openApiPage } from './page.ts'

const document = openApiDocument()
const withoutVersion = (path: string) => path.replace(/^\/v1(?=\/)/, '')

function mountedRoutes(): Set<string> {
  const bare = { metrics: { handler: () => {} } } as unknown as Gateway
  const routes = createApp(bare).router.stack.flatMap(({ route }) => {
    if (route === undefined) return []
    const paths = [route.path].flat().map((path: string) => withoutVersion(openApiPath(path)))
    return route.stack.flatMap(({ method }) => paths.map((path) => `${method} ${path}`))
  })
  return new Set(routes)
}

test('every mounted route is in the document, and nothing else', () => {
  const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method} ${withoutVersion(path)}`),
  )
  assert.deepEqual(documented.sort(), [...mountedRoutes()].sort())
})

describe('the document', () => {
  test('has the schemas that requests are checked by', () => {
    const chat = document.paths['/v1/chat/completions']?.post
    assert.partialDeepStrictEqual(chat?.requestBody, {
      required: true,
      content: {
        'application/json': {
          schema: {
            type: 'object',
            required: ['model', 'messages'],
            properties: { model: { type: 'string', minLength: 1 }, messages: { minItems: 1 } },
          },
        },
      },
    })
    const key = document.paths['/key/info']?.get
    assert.partialDeepStrictEqual(key?.parameters, [{ name: 'key', in: 'query' }])
  })

  test('names every parameter of each path, and gives each operation a name of its own', () => {
    const ids = []
    for (const [path, operations] of Object.entries(document.paths)) {
      const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      for (const { parameters = [], operationId } of Object.values(operations)) {
        const found = (parameters as { name: string; in: string; required?: boolean }[])
          .filter((one) => one.in === 'path' && one.required)
          .map(({ name }) => name)
        assert.deepEqual(found, wanted, path)
        ids.push(operationId)
      }
    }
    assert.equal(new Set(ids).size, ids.length)
  })

  test('is plain JSON without references that lead nowhere', () => {
    const text = JSON.stringify(document)
    const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, to]) => to)
    assert.deepEqual([...new Set(references)], ['#/components/schemas/Error'])
  })
})

test('the page shows every path, and loads nothing from anywhere', () => {
  const page = openApiPage(document)
  for (const path of Object.keys(document.paths)) assert.ok(page.includes(`<code>${path}</code>`))
  assert.doesNotMatch(page, /<script|<link|src=|url\(|https?:/)
})
