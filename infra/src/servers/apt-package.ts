// Fetches a package of the system's own package sources and unpacks it into a folder. Needs no root:
// apt works in folders of its own, and nothing is installed.
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface AptPackage {
  name: string
  /** Also the packages that it depends on and that this system has not installed. */
  withDependencies: boolean
  /** Gets a folder for each version that is fetched. */
  cache: string
  limitMs: number
}

const execute = promisify(execFile)

/**
 * The finished folder appears by one rename, so that starts at the same time do not clash.
 * @returns the folder
 * @throws Error with apt's words in `stderr`
 */
export async function fetchByApt(wanted: AptPackage): Promise<string> {
  const { name, cache } = wanted
  await mkdir(cache, { recursive: true })
  const scratch = await mkdtemp(join(cache, '.fetch-'))
  try {
    const archives = await download(wanted, scratch)
    const files = (await readdir(archives)).filter((file) => file.endsWith('.deb'))
    const main = files.find((file) => file.startsWith(`${name}_`))
    if (main === undefined) throw new Error('apt-get downloaded nothing')
    const unpacked = join(scratch, 'unpacked')
    for (const file of files) await execute('dpkg-deb', ['-x', join(archives, file), unpacked])
    const target = join(cache, main.replace(/\.deb$/, ''))
    await rename(unpacked, target).catch((error: NodeJS.ErrnoException) => {
      // Another start was quicker.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
    return target
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** @returns the folder that the packages are in */
async function download(wanted: AptPackage, scratch: string): Promise<string> {
  const { name, withDependencies, limitMs: timeout } = wanted
  const apt = (args: string[]) => execute('apt-get', args, { cwd: scratch, timeout })
  const lists = join(scratch, 'lists')
  const cache = join(scratch, 'cache')
  const archives = join(cache, 'archives')
  await mkdir(join(lists, 'partial'), { recursive: true })
  await mkdir(join(archives, 'partial'), { recursive: true })
  const options = [
    ...['-qq', '-o', 'Acquire::http::Timeout=20', '-o', 'Acquire::Retries=1'],
    ...['-o', `Dir::Cache=${cache}`],
    // As root apt would drop to a user that cannot write here.
    ...(process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : []),
  ]
  // What dpkg has installed is read, never written: its lock, which is root's, is not needed.
  const unlocked = ['-o', 'Debug::NoLocking=1']
  const fetch = withDependencies
    ? [...unlocked, 'install', '--download-only', '--no-install-recommends', '-y', name]
    : ['download', name]
  const folder = withDependencies ? archives : scratch
  try {
    // With the system's own lists, where they are there and fresh: no update needed.
    await apt([...options, ...fetch])
    return folder
  } catch {
    // Fall through to lists of our own.
  }
  const own = ['-o', `Dir::State::lists=${lists}`]
  // One unreachable source among several is no reason to give up; the download will tell.
  await apt([...options, ...own, '-o', 'Acquire::Languages=none', 'update']).catch(() => {})
  await apt([...options, ...own, ...fetch])
  return folder
}
