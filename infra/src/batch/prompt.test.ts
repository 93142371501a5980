import assert from 'node:assert/strict'
import { test } from 'node:test'
import { promptFor } from './prompt.ts'

test('a prompt is filled in once: what a text holds stays as it is', () => {
  assert.equal(
    promptFor('{{name}}: {{text}}!', 'a.txt', 'say {{name}} $& $1'),
    'a.txt: say {{name}} $& $1!',
  )
})

test('a prompt without a place for the text stands before it', () => {
  assert.equal(
    promptFor('Summarize {{name}}.\n', 'a.txt', 'the text'),
    'Summarize a.txt.\n\nthe text',
  )
})
