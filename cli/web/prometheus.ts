import type { Point } from '../../lib/flow/view.ts';
import { errorText } from '../../lib/loam-error.ts';
import { LocalMeshError } from '../local/errors.ts';

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 1024 * 1024;
/** Points of a line, whatever its length. */
const POINTS = 120;
const SHORTEST_STEP_S = 15;
/** What the recording rules look back. */
const RULE_RANGE_S = 300;
const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

/** Lengths of time that may be asked for, in ms. */
export const HISTORY_RANGES: readonly number[] = [1, 6, 24, 168].map((hours) => hours * 3_600_000);

type Line = ReadonlyMap<number, number>;

/**
 * What a Prometheus kept of a Service, by the series that the recording rules of `deploy/monitoring/rules/recording.yaml` make. It is asked
 * by this process, with no more than the address that the user gave; the page names a Service and a length of time, never a query.
 */
export class PrometheusHistory {
  readonly #base: URL;
  /** Of an address with name and password; fetch takes none in a URL, and says all of it where it refuses. */
  readonly #authorization: string | undefined;

  /** @throws LocalMeshError when the address is none of http or https */
  constructor(address: string) {
    const base = URL.canParse(address) ? new URL(address) : undefined;
    if (base === undefined || !['http:', 'https:'].includes(base.protocol))
      throw new LocalMeshError(
        'LOCAL_MESH_INPUT',
        `--prometheus ${JSON.stringify(address)} is no address; allowed: http://HOST:PORT or https://HOST:PORT, with a path where it has one`,
      );
    if (!base.pathname.endsWith('/')) base.pathname += '/';
    const { username, password } = base;
    this.#authorization = username + password === '' ? undefined : basic(username, password);
    base.username = '';
    base.password = '';
    this.#base = base;
  }

  /**
   * Rate, failures and durations of a Service: of its requests where a waypoint reads them, else of its connections.
   *
   * @param service `namespace/name`
   * @param rangeMs one of {@link HISTORY_RANGES}
   * @throws Error which says what of the question or of the answer is wrong
   */
  async of(service: string, rangeMs: number, now: number = Date.now()): Promise<Point[]> {
    const [namespace = '', name = '', ...rest] = service.split('/');
    if (!NAME.test(namespace) || !NAME.test(name) || rest.length > 0)
      throw new Error(`service ${JSON.stringify(service)} is not namespace/name`);
    if (!HISTORY_RANGES.includes(rangeMs))
      throw new Error(`range must be one of ${HISTORY_RANGES.join(', ')} ms`);
    const of = `{destination_service_namespace="${namespace}",destination_service_name="${name}"}`;
    const step = Math.max(SHORTEST_STEP_S, Math.round(rangeMs / 1_000 / POINTS));
    const ask = (query: string): Promise<Line> => this.#range(query, now - rangeMs, now, step);
    // Points that are further apart than the rules look back would leave out what happened between.
    const recorded = (series: string): string =>
      step > RULE_RANGE_S ? `avg_over_time(${series}${of}[${step}s])` : `${series}${of}`;
    const rate = await ask(recorded('service:istio_requests:rate5m'));
    if (rate.size === 0) {
      const opened = await ask(recorded('service:istio_tcp_connections_opened:rate5m'));
      const failed = await ask(recorded('service:istio_tcp_connections_failed:rate5m'));
      if (opened.size === 0 && failed.size === 0)
        throw new Error(
          `Prometheus has nothing of ${service} in this time: it scrapes the mesh, with the recording rules of deploy/monitoring/rules?`,
        );
      return pointsOf(opened.size > 0 ? opened : failed, failed);
    }
    const quantile = (q: number): Promise<Line> =>
      ask(
        `histogram_quantile(${q}, sum by (le) (${recorded('service:istio_request_duration_milliseconds_bucket:rate5m')}))`,
      );
    const [errors, p50, p95] = [
      await ask(recorded('service:istio_request_errors:rate5m')),
      await quantile(0.5),
      await quantile(0.95),
    ];
    return pointsOf(rate, errors, p50, p95);
  }

  async #range(query: string, from: number, to: number, step: number): Promise<Line> {
    const url = new URL('api/v1/query_range', this.#base);
    const given = { query, start: String(from / 1_000), end: String(to / 1_000), step: String(step) };
    url.search = new URLSearchParams(given).toString();
    const where = `Prometheus at ${this.#base.origin}`;
    const response = await fetch(url, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: 'error',
      headers: {
        accept: 'application/json',
        ...(this.#authorization !== undefined && { authorization: this.#authorization }),
      },
    }).catch((error: unknown) => {
      throw new Error(`${where} does not answer: ${causeOf(error)}`, { cause: error });
    });
    const text = await limited(response, where);
    const answer = parsed(text);
    if (!response.ok || answer?.status !== 'success')
      throw new Error(
        `${where} answers ${response.status}: ${`${answer?.error ?? (text.trim() || 'nothing')}`.slice(0, 300)}`,
      );
    const values = answer.data?.result?.[0]?.values ?? [];
    const line = new Map<number, number>();
    for (const [at, value] of values) {
      const number = Number(value);
      if (Number.isFinite(at) && Number.isFinite(number)) line.set(at * 1_000, number);
    }
    return line;
  }
}

interface Answer {
  readonly status?: string;
  readonly error?: string;
  readonly data?: {
    readonly result?: readonly { readonly values?: readonly (readonly [number, string])[] }[];
  };
}

function parsed(text: string): Answer | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** RFC 7617. A URL has both percent-encoded, unless somebody wrote a `%` that is none. */
function basic(name: string, password: string): string {
  const plain = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  return `Basic ${Buffer.from(`${plain(name)}:${plain(password)}`).toString('base64')}`;
}

async function limited(response: Response, where: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error(`${where} answers more than ${MAX_ANSWER_BYTES} bytes`);
  }
  return Buffer.concat(chunks).toString();
}

/** The reason below `fetch failed`. */
function causeOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? errorText(error);
}

function pointsOf(rate: Line, failed: Line, p50?: Line, p95?: Line): Point[] {
  return [...rate].map(([at, value]): Point => {
    const [half, most] = [p50?.get(at), p95?.get(at)];
    return {
      ...{ at, rate: value, failed: failed.get(at) ?? 0, denied: 0 },
      ...(half !== undefined && most !== undefined && { p50: half, p95: most }),
    };
  });
}
