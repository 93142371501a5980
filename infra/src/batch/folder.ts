// The text files of a folder that are still to be answered, in the order of their names.
import { type Dirent, promises as fs } from 'node:fs'
import { extname, join, relative, resolve, sep } from 'node:path'

/** A longer text fits no model's context. */
export const maxTextBytes = 1_000_000
/** Files looked at; a folder with more is not what was meant. */
const maxFiles = 1_000_000

export interface FolderRules {
  /** Absolute. */
  folder: string
  /** The end of the names of answers, which are no texts themselves. */
  outSuffix: string
  /** Without dots; undefined: all. */
  endings: readonly string[] | undefined
  /** Absolute paths that are no texts of the folder either. */
  except: readonly string[]
}

export interface TextFile {
  /** Relative to the folder, with `/`. */
  name: string
  text: string
}

/** What is left out, and why. */
export type OnSkipped = (name: string, why: string) => void

/**
 * The names of files whose answer is missing or older than they are, hidden ones left out, symbolic
 * links not followed.
 */
export async function* openNames(rules: FolderRules): AsyncGenerator<string, void> {
  let seen = 0
  for await (const path of filesOf(rules.folder)) {
    seen += 1
    if (seen > maxFiles) throw new Error(`${rules.folder} has more than ${maxFiles} files.`)
    if (path.endsWith(rules.outSuffix) || rules.except.includes(path)) continue
    if (rules.endings !== undefined && !rules.endings.includes(extname(path).slice(1))) continue
    if (await isAnswered(path, rules.outSuffix)) continue
    yield relative(rules.folder, path).split(sep).join('/')
  }
}

/** @returns null where the file is no text that can be sent */
export async function readText(
  { folder }: FolderRules,
  name: string,
  onSkipped: OnSkipped,
): Promise<TextFile | null> {
  const path = join(folder, name)
  const { size } = await fs.stat(path)
  const skipped = (why: string) => {
    onSkipped(name, why)
    return null
  }
  if (name.length > maxNameLength) return skipped('its path is too long')
  if (size > maxTextBytes) return skipped(`larger than ${maxTextBytes / 1_000_000} MB`)
  const bytes = await fs.readFile(path)
  if (bytes.includes(0)) return skipped('binary')
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return skipped('no UTF-8 text')
  }
  return text.trim() === '' ? skipped('empty') : { name, text }
}

/** It becomes the custom_id. */
const maxNameLength = 512

/**
 * Where the answer to a file stands.
 * @returns null where the name does not lead into the folder
 */
export function answerPath({ folder, outSuffix }: FolderRules, name: string): string | null {
  const path = resolve(folder, name)
  return path.startsWith(`${folder}${sep}`) ? `${path}${outSuffix}` : null
}

async function* filesOf(folder: string): AsyncGenerator<string, void> {
  const entries: Dirent[] = await fs.readdir(folder, { withFileTypes: true })
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesOf(path)
    else if (entry.isFile()) yield path
  }
}

async function isAnswered(path: string, outSuffix: string): Promise<boolean> {
  try {
    const [text, answer] = await Promise.all([fs.stat(path), fs.stat(`${path}${outSuffix}`)])
    return answer.mtimeMs >= text.mtimeMs
  } catch {
    return false
  }
}
