// What two builds' loads say about each other. A machine drifts, so loads are compared in pairs, each
// with the one next to it in time; the medians of each build alone are shown, but they decide nothing.
import { count, milliseconds } from './format.ts'
import { aligned } from './markdown.ts'
import { sum } from './statistics.ts'

/** What one load of one build showed. */
export interface Load {
  requestsPerSecond: number
  /** Milliseconds. */
  p50: number
  /** Processor microseconds a request, by part; empty where the system does not tell. */
  cpuMicros: Record<string, number>
}

/** A load of this build and one of the other, one right after the other. */
export interface Round {
  ours: Load
  theirs: Load
}

/** Of this build's value to the other's in the same round. */
export interface PairedRatio {
  median: number
  lowest: number
  highest: number
  /** Rounds in which this build's value was the higher one. */
  higher: number
}

type Reading = (load: Load) => number

/** The middle; of an even count the mean of both middles, so that neither build is favoured. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort()
  const low = sorted[Math.ceil(sorted.length / 2) - 1]
  const high = sorted[Math.floor(sorted.length / 2)]
  if (low === undefined || high === undefined) throw new RangeError('no values to take a median of')
  return (low + high) / 2
}

/** @returns null unless both builds have a value in every round */
export function pairedRatio(rounds: readonly Round[], read: Reading): PairedRatio | null {
  const pairs = rounds.map(({ ours, theirs }) => [read(ours), read(theirs)] as const)
  if (pairs.length === 0 || pairs.flat().some((value) => !(value > 0))) return null
  const ratios = pairs.map(([ours, theirs]) => ours / theirs)
  return {
    median: median(ratios),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
    higher: ratios.filter((ratio) => ratio > 1).length,
  }
}

/**
 * The sign test: two equal builds are a coin that falls once each round. In at most one of twenty
 * comparisons of theirs is either one the higher in this many rounds or more.
 * @returns null where there are too few rounds for any such number
 */
export function tellingRounds(rounds: number): number | null {
  let falls = 1 / 2 ** rounds
  let atLeast = 0
  for (let higher = rounds; higher > rounds / 2; higher--) {
    atLeast += falls
    if (2 * atLeast > 0.05) return higher === rounds ? null : higher + 1
    falls *= higher / (rounds - higher + 1)
  }
  return null
}

export function totalMicros({ cpuMicros }: Load): number {
  return sum(Object.values(cpuMicros))
}

/** For people: one round, as it is measured. */
export function roundLine({ ours, theirs }: Round): string {
  const figures = (load: Load) =>
    `${count(load.requestsPerSecond)}/s, p50 ${milliseconds(load.p50)} ms, ${count(totalMicros(load))} µs`
  const ratio = pairedRatio([{ ours, theirs }], totalMicros)
  const inShort = ratio === null ? '' : `; processor time ×${ratio.median.toFixed(3)}`
  return `this ${figures(ours)}; other ${figures(theirs)}${inShort}`
}

/** For people: a Markdown table, and how much of it may be chance. */
export function versusReport(rounds: readonly Round[]): string {
  const body = linesFor(rounds).map(({ label, read, format }) => {
    const ratio = pairedRatio(rounds, read)
    return [
      label,
      format(median(rounds.map(({ ours }) => read(ours)))),
      format(median(rounds.map(({ theirs }) => read(theirs)))),
      ratio === null ? '–' : ratio.median.toFixed(3),
      ratio === null ? '–' : `${ratio.lowest.toFixed(3)} to ${ratio.highest.toFixed(3)}`,
      ratio === null ? '–' : `${ratio.higher} of ${rounds.length}`,
    ]
  })
  const head = ['median of the rounds', 'this build', 'other build', 'this/other', 'from … to']
  const telling = tellingRounds(rounds.length)
  return [
    aligned([[...head, 'higher in'], ...body]),
    '',
    'this/other is the median of the ratios within each round, with the lowest and the highest.',
    telling === null
      ? 'So few rounds cannot tell the builds apart.'
      : `Of two equal builds either one is the higher in ${telling} rounds or more once in 20 lines at most; fewer say nothing.`,
  ].join('\n')
}

/**
 * @returns a sentence if the median paired ratio of processor time per request is more than `atMost`
 * @throws Error where the system does not tell processor time
 */
export function excessOf(rounds: readonly Round[], atMost: number): string | null {
  const ratio = pairedRatio(rounds, totalMicros)
  if (ratio === null) throw new Error('--at-most: this system does not tell processor time')
  if (ratio.median <= atMost) return null
  return (
    `FAILED: this build needs ${ratio.median.toFixed(3)} times the other's processor time per request, ` +
    `more than the ${atMost} of --at-most.`
  )
}

interface Line {
  label: string
  read: Reading
  format: (value: number) => string
}

/** Parts that need less than half a microsecond in both builds are left out. */
function linesFor(rounds: readonly Round[]): Line[] {
  const loads = rounds.flatMap(({ ours, theirs }) => [ours, theirs])
  const parts = [...new Set(loads.flatMap(({ cpuMicros }) => Object.keys(cpuMicros)))]
    .map((part) => {
      const read: Reading = ({ cpuMicros }) => cpuMicros[part] ?? 0
      return { label: `of it ${part}`, read, format: count, micros: median(loads.map(read)) }
    })
    .filter(({ micros }) => micros >= 0.5)
    .sort((a, b) => b.micros - a.micros)
  return [
    { label: 'requests/s', read: (load) => load.requestsPerSecond, format: count },
    { label: 'p50, ms', read: (load) => load.p50, format: milliseconds },
    { label: 'processor time per request, µs', read: totalMicros, format: count },
    ...parts,
  ]
}
