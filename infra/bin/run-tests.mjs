// The test run: typecheck, lint, unit tests, then the end-to-end tests, few files at a time. With
// patterns only the test files whose path holds one of them. Its last line counts all tests.
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { environment, findNode, root } from './run-node.mjs'

/** One test (a file counts as one) that takes longer, in milliseconds, hangs; CI's limit is 15 minutes. */
const testLimitMs = 8 * 60_000

const noTelemetry = {
  TURBO_TELEMETRY_DISABLED: '1',
  TURBO_NO_UPDATE_NOTIFIER: '1',
  DO_NOT_TRACK: '1',
}

/** @returns {Promise<number>} 0 if there were tests and everything passed, else 1 */
export async function runTests(patterns) {
  const failedSteps = []
  const totals = { passed: 0, failed: 0 }
  let interrupted = false

  const step = async (title, command, args) => {
    console.log(`\n=== ${title}`)
    const ended = await run(command, args)
    interrupted ||= ended.interrupted
    if (ended.code !== 0) failedSteps.push(`${title} (exit code ${ended.code})`)
  }
  const testStep = async (title, files, flags) => {
    if (files.length === 0 || interrupted) return
    const scratch = mkdtempSync(join(tmpdir(), 'penstock-test-'))
    const countsFile = join(scratch, 'counts')
    await step(title, findNode() ?? process.execPath, [
      '--test',
      `--test-timeout=${testLimitMs}`,
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      `--test-reporter=${join(root, 'infra', 'bin', 'count-reporter.mjs')}`,
      `--test-reporter-destination=${countsFile}`,
      ...flags,
      ...files,
    ])
    const counts = readCounts(countsFile)
    totals.passed += counts.passed
    totals.failed += counts.failed + counts.cancelled
    rmSync(scratch, { recursive: true, force: true })
  }

  const files = findTests('').filter(
    (file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)),
  )
  if (patterns.length === 0) {
    // Turbo's cache does not see that a package depends on another's sources: check them all.
    await step('typecheck', tool('turbo'), ['run', 'typecheck', '--force', '--ui=stream'])
    if (!interrupted) await step('lint', tool('biome'), ['check', '.'])
  }
  await testStep(
    'unit tests',
    files.filter((file) => !isEndToEnd(file)),
    // Node itself leaves a core free.
    [`--test-concurrency=${Math.max(2, availableParallelism())}`],
  )
  const endToEnd = files.filter(isEndToEnd)
  await testStep('end-to-end tests', endToEnd.filter(sharesCores), ['--test-concurrency=3'])
  const alone = endToEnd.filter((file) => !sharesCores(file))
  await testStep('end-to-end tests that need the machine', alone, ['--test-concurrency=1'])

  const noTests = totals.passed + totals.failed === 0
  console.log('')
  if (noTests) console.log(`No test ran${patterns.length > 0 ? `: none matches ${patterns}` : ''}.`)
  for (const failed of failedSteps) console.log(`Failed: ${failed}`)
  console.log(`${totals.passed} passed, ${totals.failed} failed`)
  return noTests || failedSteps.length > 0 || totals.failed > 0 ? 1 : 0
}

/** These start real servers: few files at a time. */
function isEndToEnd(file) {
  return file.startsWith('test/e2e/')
}

/**
 * Most files wait for heartbeats and timeouts more than they work. Those that kill processes under
 * load, or hold shares and makespans against a bound, get both cores.
 */
function sharesCores(file) {
  return !/\/(chaos|chaos-money|chaos-busy|late-binding|fair-share|slots|strategies)\.test/.test(
    file,
  )
}

/** All test files below a folder, relative to the root. */
function findTests(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) {
      return entry.name === 'node_modules' || entry.name.startsWith('.') ? [] : findTests(path)
    }
    return entry.name.endsWith('.test.ts') ? [path] : []
  })
}

function tool(name) {
  return join(root, 'node_modules', '.bin', name)
}

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: 'inherit',
      env: environment(noTelemetry),
    })
    // A Ctrl-C ends the step that runs, and no other begins; the summary is still printed.
    let interrupted = false
    const forward = (signal) => {
      interrupted = true
      child.kill(signal)
    }
    process.on('SIGINT', forward)
    process.on('SIGTERM', forward)
    const settle = (code) => {
      process.off('SIGINT', forward)
      process.off('SIGTERM', forward)
      resolve({ code, interrupted })
    }
    child.once('error', (error) => {
      console.error(`${command}: ${error.code}`)
      settle(127)
    })
    child.once('exit', (code, signal) => settle(code ?? 128 + (constants.signals[signal] ?? 0)))
  })
}

/** A run that was cut off before its summary counts as one failure. */
function readCounts(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { passed: 0, failed: 1, cancelled: 0 }
  }
}
