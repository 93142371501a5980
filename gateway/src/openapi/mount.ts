// The API's description for programs and for people. It tells nothing of this installation: no key is asked.
import type { Express } from 'express'
import { openApiDocument } from './document.ts'
import { openApiPage } from './page.ts'

interface Made {
  json: string
  html: string
}

export function mountOpenApi(app: Express): void {
  let made: Made | null = null
  /** When somebody asks for the first time. */
  const make = (): Made => {
    if (made !== null) return made
    const document = openApiDocument()
    made = { json: JSON.stringify(document), html: openApiPage(document) }
    return made
  }
  app.get('/openapi.json', (_req, res) => {
    res.type('application/json').send(make().json)
  })
  app.get('/docs', (_req, res) => {
    res.setHeader('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
    res.type('text/html').send(make().html)
  })
}
