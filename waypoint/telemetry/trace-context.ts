import { header, type Headers } from '../../lib/mesh/waypoint/request.ts';

/** How a client writes its trace context, so that what is behind us gets it in the same form. */
export interface TraceFormats {
  readonly w3c: boolean;
  /** `b3`, one header. */
  readonly b3Single: boolean;
  /** `x-b3-...`, a header each. */
  readonly b3Multi: boolean;
}

/** What the headers of a request tell of its trace. Nothing of it is believed but ids and the decision. */
export interface TraceContext {
  /** 32 hex digits; undefined: no trace yet. */
  readonly traceId: string | undefined;
  /** 16 hex digits. */
  readonly parentSpanId: string | undefined;
  /** The client's decision; undefined: it left that to us. */
  readonly sampled: boolean | undefined;
  readonly formats: TraceFormats;
  /** W3C level 2's random-trace-id flag. */
  readonly random: boolean;
  /** B3's debug flag: sampled, and meant to be kept. */
  readonly debug: boolean;
  /** B3 with a trace id of 64 bits, as it is handed on. */
  readonly shortTraceId: boolean;
  /** Belongs to a valid traceparent; handed on as it came, if it has a sane size. */
  readonly tracestate: string | undefined;
}

/** W3C Trace Context section 3.3.1.5 wants 512 characters at least; Envoy and the SDKs carry more. */
const MAX_TRACESTATE = 2_048;
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[\x21-\x7e]{0,200})?$/;
const B3_IDS = /^([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/i;
const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/i;
const SPAN_ID = /^[0-9a-f]{16}$/i;
const ZERO = /^0+$/;

type Found = Omit<TraceContext, 'formats' | 'tracestate'>;

/**
 * Reads W3C `traceparent`/`tracestate` and B3 in both its forms. Broken headers count as absent; where both formats are
 * there, W3C's ids win and both are written again.
 */
export function extractContext(headers: Headers): TraceContext {
  const w3c = fromTraceparent(header(headers, 'traceparent'));
  const single = fromB3Single(header(headers, 'b3'));
  const multi = fromB3Multi(headers);
  const found = w3c ?? single ?? multi ?? NOTHING;
  const state = header(headers, 'tracestate');
  return {
    ...found,
    formats: { w3c: w3c !== undefined, b3Single: single !== undefined, b3Multi: multi !== undefined },
    tracestate:
      w3c !== undefined && state !== undefined && state.length <= MAX_TRACESTATE ? state : undefined,
  };
}

/**
 * Writes the context for the next hop, in the formats that the client used, W3C where it used none.
 *
 * @param spanId the span that is the next hop's parent
 */
export function injectContext(
  headers: Headers,
  context: TraceContext,
  span: { readonly traceId: string; readonly spanId: string; readonly sampled: boolean },
): void {
  const { formats } = context;
  const { traceId, spanId, sampled } = span;
  if (formats.w3c || (!formats.b3Single && !formats.b3Multi)) {
    const flags = (sampled ? 1 : 0) | (context.random ? 2 : 0);
    headers['traceparent'] = `00-${traceId}-${spanId}-0${flags}`;
    if (context.tracestate === undefined) delete headers['tracestate'];
    else headers['tracestate'] = context.tracestate;
  } else {
    // They would speak of a trace that we did not take over.
    delete headers['traceparent'];
    delete headers['tracestate'];
  }
  const b3Id = context.shortTraceId && traceId.startsWith('0'.repeat(16)) ? traceId.slice(16) : traceId;
  const decision = context.debug ? 'd' : sampled ? '1' : '0';
  if (formats.b3Single) headers['b3'] = `${b3Id}-${spanId}-${decision}`;
  if (formats.b3Multi) {
    headers['x-b3-traceid'] = b3Id;
    headers['x-b3-spanid'] = spanId;
    delete headers['x-b3-parentspanid'];
    delete headers['x-b3-sampled'];
    delete headers['x-b3-flags'];
    if (context.debug) headers['x-b3-flags'] = '1';
    else headers['x-b3-sampled'] = sampled ? '1' : '0';
  }
}

const NOTHING: Found = {
  traceId: undefined,
  parentSpanId: undefined,
  sampled: undefined,
  random: false,
  debug: false,
  shortTraceId: false,
};

function fromTraceparent(text: string | undefined): Found | undefined {
  const match = text === undefined ? undefined : TRACEPARENT.exec(text);
  const [whole, version, traceId, parentSpanId, flags] = match ?? [];
  if (whole === undefined || traceId === undefined || parentSpanId === undefined) return undefined;
  // Version 00 has exactly these fields; a later one may have more, and ff is forbidden (section 3.2.2).
  if (version === 'ff' || (version === '00' && whole.length !== 55)) return undefined;
  if (ZERO.test(traceId) || ZERO.test(parentSpanId)) return undefined;
  const bits = Number.parseInt(flags ?? '', 16);
  return { ...NOTHING, traceId, parentSpanId, sampled: (bits & 1) === 1, random: (bits & 2) === 2 };
}

function fromB3Single(text: string | undefined): Found | undefined {
  if (text === undefined) return undefined;
  if (text === '0') return { ...NOTHING, sampled: false };
  if (text === '1') return { ...NOTHING, sampled: true };
  if (text === 'd') return { ...NOTHING, sampled: true, debug: true };
  const [, traceId, spanId, decision] = B3_IDS.exec(text) ?? [];
  if (traceId === undefined || spanId === undefined) return undefined;
  return b3Found(traceId, spanId, decision);
}

function fromB3Multi(headers: Headers): Found | undefined {
  const traceId = header(headers, 'x-b3-traceid');
  const spanId = header(headers, 'x-b3-spanid');
  const debug = header(headers, 'x-b3-flags') === '1';
  // Older clients write true and false.
  const sampled = header(headers, 'x-b3-sampled')?.toLowerCase();
  const decision = debug
    ? 'd'
    : sampled === '1' || sampled === 'true'
      ? '1'
      : sampled === undefined
        ? undefined
        : '0';
  if (traceId === undefined && spanId === undefined) {
    if (decision === undefined) return undefined;
    return { ...NOTHING, sampled: decision !== '0', debug };
  }
  if (traceId === undefined || spanId === undefined) return undefined;
  if (!TRACE_ID.test(traceId) || !SPAN_ID.test(spanId)) return undefined;
  return b3Found(traceId, spanId, decision);
}

function b3Found(traceId: string, spanId: string, decision: string | undefined): Found | undefined {
  if (ZERO.test(traceId) || ZERO.test(spanId)) return undefined;
  return {
    traceId: traceId.toLowerCase().padStart(32, '0'),
    parentSpanId: spanId.toLowerCase(),
    sampled: decision === undefined ? undefined : decision !== '0',
    random: false,
    debug: decision === 'd',
    shortTraceId: traceId.length === 16,
  };
}
