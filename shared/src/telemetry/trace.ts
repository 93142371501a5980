// Traces: one W3C trace per request across all services. Spans are passed explicitly, as
// `traceparent` text, because a request hops between processes anyway. Without
// OTEL_EXPORTER_OTLP_ENDPOINT no SDK is loaded and `start` returns null.
import {
  type Attributes,
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanKind,
  type TextMapPropagator,
  trace,
} from '@opentelemetry/api'

export { type Attributes, type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api'

export interface SpanOptions {
  kind?: SpanKind
  /** The parent's `traceparent`; null starts a new trace. */
  parent: string | null
  /** Epoch milliseconds; now, if absent. */
  startTime?: number
  attributes?: Attributes
}

export interface Tracing {
  /** Null where tracing is off: `span?.end()` then costs nothing. */
  start(name: string, options: SpanOptions): Span | null
  /** Exports what is left, within a few seconds. */
  close(): Promise<void>
}

export interface StartedTracing extends Tracing {
  /** Has libraries that trace by OpenTelemetry's globals trace to here. @returns false: it is off */
  lend(): boolean
}

const off: StartedTracing = { start: () => null, lend: () => false, close: () => Promise.resolve() }

/** `service` becomes the resource's `service.name`, prefixed: `penstock-gateway`. */
export async function startTracing(
  service: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<StartedTracing> {
  const wanted = env.OTEL_EXPORTER_OTLP_ENDPOINT ?? env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
  if (wanted === undefined || wanted === '' || env.OTEL_SDK_DISABLED === 'true') return off
  const [{ TracerProvider, BatchSpanProcessor }, { OTLPTraceExporter }, resources] =
    await Promise.all([
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
    ])
  const resource = resources
    .defaultResource()
    .merge(resources.resourceFromAttributes({ 'service.name': `penstock-${service}` }))
  const provider = new TracerProvider({
    resource,
    spanProcessors: [
      new BatchSpanProcessor({ exporter: new OTLPTraceExporter(), maxQueueSize: 8192 }),
    ],
  })
  const tracer = provider.getTracer('penstock')
  return {
    start(name, { parent, ...options }) {
      return tracer.startSpan(name, options, contextFrom(parent))
    },
    lend() {
      trace.setGlobalTracerProvider(provider)
      propagation.setGlobalPropagator(propagator)
      return true
    },
    close: () => provider.shutdown(),
  }
}

/** `traceparent` alone: nothing of ours has baggage or a trace state. */
const propagator: TextMapPropagator = {
  inject(context, carrier, setter) {
    const span = trace.getSpan(context)
    if (span !== undefined) setter.set(carrier, 'traceparent', traceparentOf(span))
  },
  extract(context, carrier, getter) {
    const text = getter.get(carrier, 'traceparent')
    const remote = remoteSpanOf(typeof text === 'string' ? text : null)
    return remote === null ? context : trace.setSpanContext(context, remote)
  },
  fields: () => ['traceparent'],
}

const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** True for a `traceparent` of version 00 (W3C Trace Context, section 3.2). */
export function isTraceparent(text: string | undefined): text is string {
  return text !== undefined && traceparentPattern.test(text)
}

/** A span's identity as a W3C `traceparent` header. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

function contextFrom(traceparent: string | null): Context {
  const remote = remoteSpanOf(traceparent)
  return remote === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote)
}

function remoteSpanOf(traceparent: string | null): SpanContext | null {
  const match = traceparent === null ? null : traceparentPattern.exec(traceparent)
  const [, traceId, spanId, flags] = match ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return null
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
}
