// Content blocks of Anthropic's as parts of an OpenAI message, and which blocks can be parts at all.
import type { Fields } from '../dialect.ts'
import type { Block, Content } from './request.ts'

/** A text alone is one block. What is no block (inside a tool's result) is left out. */
export function partsOf(content: Content): Block[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  return Array.isArray(content) ? content.filter(isBlock) : []
}

/** LiteLLM's extension of OpenAI's form, in Anthropic's words. */
export function cacheOf({ cache_control: cache }: Fields): { cache_control?: unknown } {
  return cache === undefined || cache === null ? {} : { cache_control: cache }
}

export function imagePart(block: Block): Fields {
  const { type, media_type: media, data, url } = sourceOf(block)
  const link = type === 'base64' ? `data:${media};base64,${data}` : url
  return typeof link === 'string'
    ? { type: 'image_url', image_url: { url: link }, ...cacheOf(block) }
    : block
}

export function documentParts(block: Block): Fields[] {
  const { type, media_type: media, data, url, content } = sourceOf(block)
  const title = typeof block.title === 'string' ? block.title : null
  const cache = cacheOf(block)
  switch (type) {
    case 'base64': {
      const file = { filename: title ?? 'document.pdf', file_data: `data:${media};base64,${data}` }
      return [{ type: 'file', file, ...cache }]
    }
    case 'url':
      return [{ type: 'file', file: { file_id: url }, ...cache }]
    case 'text':
      return [{ type: 'text', text: titled(block, String(data ?? '')), ...cache }]
    case 'content': {
      const parts = partsOf(content as Content).map((one) =>
        one.type === 'image' ? imagePart(one) : { type: 'text', text: String(one.text ?? '') },
      )
      const head = titled(block, '')
      return [...(head === '' ? [] : [{ type: 'text', text: head }]), ...parts]
    }
    default:
      return [block]
  }
}

export function searchResultPart(block: Block): Fields {
  const texts = partsOf(block.content as Content).map(({ text }) => String(text ?? ''))
  const text = [block.title, block.source, ...texts].filter(isText).join('\n')
  return { type: 'text', text, ...cacheOf(block) }
}

const translated = new Set([
  'document',
  'image',
  'redacted_thinking',
  'search_result',
  'text',
  'thinking',
  'tool_result',
  'tool_use',
])

/** Blocks of Anthropic's server tools, and files that it keeps. */
export function isForeignBlock(block: Block): boolean {
  if (!translated.has(block.type)) return true
  return (block.type === 'image' || block.type === 'document') && sourceOf(block).type === 'file'
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isBlock(value: unknown): value is Block {
  return isFields(value) && typeof value.type === 'string'
}

function sourceOf({ source }: Block): Fields {
  return isFields(source) ? source : {}
}

function titled({ title, context }: Block, text: string): string {
  return [title, context, text].filter(isText).join('\n')
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
