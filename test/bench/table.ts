// The results as one Markdown table.
import { count, mebibytes, milliseconds } from './format.ts'
import { aligned } from './markdown.ts'
import type { Results, SubjectResults } from './results.ts'
import { added } from './statistics.ts'
import { workloads } from './workloads.ts'

type Percentiles = { p50: number; p99: number } | null | undefined

/** A line of the table: what it says of one subject; null: nothing to say. */
interface Line {
  label: string
  cell(subject: SubjectResults): string | null
}

export function markdownTable({ subjects, plan }: Pick<Results, 'subjects' | 'plan'>): string {
  const head = ['', ...subjects.map(nameOf)]
  const body = linesFor(subjects)
    .map(({ label, cell }) => [label, ...subjects.map((subject) => cell(subject) ?? '–')])
    // A line about what nobody was asked.
    .filter(([, ...cells]) => cells.some((text) => text !== '–'))
  const note = plan === 'quick' ? '\n\n(A quick run: good for a direction, not for a figure.)' : ''
  return `${aligned([head, ...body])}${note}`
}

function nameOf({ title, version }: SubjectResults): string {
  return version === null ? title : `${title} ${version}`
}

function linesFor(subjects: readonly SubjectResults[]): Line[] {
  const direct = subjects.find(({ name }) => name === 'direct')
  const loads = [
    ...new Set(subjects.flatMap(({ throughput }) => throughput.map((one) => one.connections))),
  ]
  const lanes = [...new Set(subjects.flatMap(({ streams }) => streams?.lanes ?? []))]
  return [
    {
      label: 'latency, 1 connection, p50 / p99 ms',
      cell: ({ latency }) => pair(latency?.ms),
    },
    {
      label: 'of it added, p50 / p99 ms',
      cell: ({ name, latency }) =>
        name === 'direct' ? null : pair(added(latency?.ms, direct?.latency?.ms)),
    },
    ...loads.flatMap(loadLines),
    {
      label: 'time to first token, p50 / p99 ms',
      cell: ({ firstToken }) => pair(firstToken?.firstTokenMs),
    },
    {
      label: 'of it added, p50 / p99 ms',
      cell: ({ name, firstToken }) =>
        name === 'direct'
          ? null
          : pair(added(firstToken?.firstTokenMs, direct?.firstToken?.firstTokenMs)),
    },
    {
      label: `gap between tokens (${workloads.firstToken.intervalMs} ms sent), p50 / p99 ms`,
      cell: ({ firstToken }) => pair(firstToken?.gapMs),
    },
    ...lanes.flatMap(streamLines),
    {
      label: 'memory idle / peak / after, MB',
      cell: ({ memory }) =>
        memory === null
          ? null
          : [memory.idleBytes, memory.peakBytes, memory.afterBytes].map(mebibytes).join(' / '),
    },
  ]
}

function loadLines(connections: number): Line[] {
  const at = ({ throughput }: SubjectResults) =>
    throughput.find((one) => one.connections === connections)
  return [
    {
      label: `requests/s, ${connections} connections`,
      cell: (subject) => {
        const found = at(subject)
        return found === undefined ? null : count(found.requestsPerSecond)
      },
    },
    {
      label: `latency, ${connections} connections, p50 / p99 ms`,
      cell: (subject) => pair(at(subject)),
    },
  ]
}

function streamLines(lanes: number): Line[] {
  return [
    {
      label: `tokens/s, ${lanes} streams at once`,
      cell: ({ streams }) => (streams === null ? null : count(streams.framesPerSecond)),
    },
    {
      label: 'of them arrived whole and in order',
      cell: ({ streams }) =>
        streams === null ? null : `${count(streams.complete)} of ${count(streams.streams)}`,
    },
    {
      label: `time to first token, ${lanes} streams, p50 / p99 ms`,
      cell: ({ streams }) => pair(streams?.firstTokenMs),
    },
  ]
}

function pair(spread: Percentiles): string | null {
  return spread ? `${milliseconds(spread.p50)} / ${milliseconds(spread.p99)}` : null
}
