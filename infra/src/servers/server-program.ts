// Where the program of an embedded server comes from: the system, or a package of the system's own
// package manager, fetched once without root into a cache that all clones of a user share.
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fetchByApt } from './apt-package.ts'
import { findProgram } from './find-program.ts'

type Say = (text: string) => void

export interface ProgramSpec {
  /** The program, which is also the name of its Debian package. */
  name: string
  /** Where the package has it. */
  pathInPackage: string
  /** Also fetch the packages that it needs and that this system lacks. */
  withDependencies: boolean
  brewFormula: string
  oldest: { major: number; minor: number }
  /** The ways to get one, for whom nothing of this helps. */
  advice: readonly string[]
}

export interface ServerProgram {
  path: string
  /** What it needs in its environment: where its libraries are. */
  env: Record<string, string>
}

const execute = promisify(execFile)
const fetchLimitMs = 5 * 60_000
const brewDirectory = '/opt/homebrew/bin'

/** @throws Error with the advice, if there is none that is recent enough and none can be fetched */
export async function findServerProgram(spec: ProgramSpec, say: Say): Promise<ServerProgram> {
  const cache = join(cacheDirectory(), spec.name)
  const onSystem = findProgram(spec.name, [brewDirectory])
  const found = onSystem === null ? [] : [{ path: onSystem, env: {} }]
  for (const program of [...found, ...(await inCache(cache, spec))]) {
    if (await isRecent(program, spec)) return program
    say(`${program.path} is passed over: ${spec.name} ${oldestOf(spec)} or newer is needed`)
  }
  let reason = 'no package manager that could fetch it was found'
  try {
    const fetched = await fetchProgram(cache, spec, say)
    if (fetched !== null && (await isRecent(fetched, spec))) return fetched
    if (fetched !== null) reason = `${fetched.path}, just fetched, is too old or does not run`
  } catch (error) {
    reason = `fetching it failed: ${lastLine(error)}`
  }
  const ways = spec.advice.map((way) => `  - ${way}`)
  const need = `Penstock needs the program ${spec.name} and found none (${reason}).`
  throw new Error([`${need} Any one of these helps:`, ...ways].join('\n'))
}

function oldestOf({ oldest }: ProgramSpec): string {
  return `${oldest.major}.${oldest.minor}`
}

function cacheDirectory(): string {
  const { PENSTOCK_CACHE_DIR, XDG_CACHE_HOME } = process.env
  return PENSTOCK_CACHE_DIR ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'penstock')
}

/** Each fetched version has its own directory. */
async function inCache(cache: string, spec: ProgramSpec): Promise<ServerProgram[]> {
  let versions: string[]
  try {
    versions = await readdir(cache)
  } catch {
    return []
  }
  const finished = versions.filter((name) => !name.startsWith('.')).toSorted()
  return Promise.all(finished.map((version) => programIn(join(cache, version), spec)))
}

async function programIn(directory: string, spec: ProgramSpec): Promise<ServerProgram> {
  const path = join(directory, spec.pathInPackage)
  if (!spec.withDependencies) return { path, env: {} }
  return { path, env: { LD_LIBRARY_PATH: (await libraryFolders(directory)).join(':') } }
}

/** Debian keeps libraries in a folder for each architecture: `usr/lib/x86_64-linux-gnu`. */
async function libraryFolders(directory: string): Promise<string[]> {
  const folders: string[] = []
  for (const base of [join(directory, 'usr', 'lib'), join(directory, 'lib')]) {
    const entries = await readdir(base, { withFileTypes: true }).catch(() => [])
    const inside = entries.filter((entry) => entry.isDirectory() && entry.name.includes('-linux-'))
    folders.push(...inside.map(({ name }) => join(base, name)))
  }
  return folders
}

async function isRecent({ path, env }: ServerProgram, { oldest }: ProgramSpec): Promise<boolean> {
  try {
    const options = { timeout: 10_000, env: { PATH: process.env.PATH, ...env } }
    const { stdout } = await execute(path, ['--version'], options)
    const [, major, minor] = /v=?(\d+)\.(\d+)\.\d+/.exec(stdout) ?? []
    if (major === undefined || minor === undefined) return false
    return (
      Number(major) > oldest.major ||
      (Number(major) === oldest.major && Number(minor) >= oldest.minor)
    )
  } catch {
    return false
  }
}

/** @returns null where neither apt nor Homebrew is there. */
async function fetchProgram(
  cache: string,
  spec: ProgramSpec,
  say: Say,
): Promise<ServerProgram | null> {
  const { name, brewFormula, withDependencies } = spec
  if (findProgram('apt-get') !== null && findProgram('dpkg-deb') !== null) {
    say(`Fetching ${name} from the package sources of this system (first start only) …`)
    const limitMs = fetchLimitMs
    return programIn(await fetchByApt({ name, withDependencies, cache, limitMs }), spec)
  }
  const brew = findProgram('brew', [brewDirectory])
  if (brew === null) return null
  say(`Installing ${brewFormula} with Homebrew (first start only) …`)
  await execute(brew, ['install', brewFormula], { timeout: fetchLimitMs })
  const path = findProgram(name, [brewDirectory])
  return path === null ? null : { path, env: {} }
}

/** apt explains itself in its last line of stderr. */
function lastLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const stderr = 'stderr' in error && typeof error.stderr === 'string' ? error.stderr : ''
  return stderr.trim().split('\n').at(-1) || error.message
}
