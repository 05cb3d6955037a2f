import type { Registry } from 'prom-client';
import { openMetricsText } from './openmetrics.ts';

/** A page of metrics in the format that was asked for. */
export interface MetricsPage {
  /** Content-Type. */
  readonly type: string;
  readonly body: string;
}

const OPEN_METRICS = 'application/openmetrics-text';
const OPEN_METRICS_TYPE = `${OPEN_METRICS}; version=1.0.0; charset=utf-8`;
const QUALITY = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;

/** One media range of an Accept header. */
interface MediaRange {
  readonly type: string;
  readonly version: string | undefined;
  readonly quality: number;
}

/**
 * A registry's page: OpenMetrics for who names it in `Accept` and likes it no less than plain text, else Prometheus' plain text.
 *
 * @param accept the header as it came; whoever asks may write anything into it
 */
export async function metricsPage(registry: Registry, accept: string | undefined): Promise<MetricsPage> {
  if (wantsOpenMetrics(accept)) return { type: OPEN_METRICS_TYPE, body: await openMetricsText(registry) };
  return { type: registry.contentType, body: await registry.metrics() };
}

/** Whether an Accept header (RFC 9110, section 12.5.1) asks for OpenMetrics 1.0. A wildcard does not: it is content with what was always there. */
export function wantsOpenMetrics(accept = ''): boolean {
  const ranges = accept.split(',').map(mediaRange);
  const best = (type: string, versions: readonly string[]): number | undefined => {
    const served = ranges.filter(
      (range) => range.type === type && (range.version === undefined || versions.includes(range.version)),
    );
    return served.length === 0 ? undefined : Math.max(...served.map(({ quality }) => quality));
  };
  const open = best(OPEN_METRICS, ['1.0.0']) ?? 0;
  const plain = best('text/plain', ['0.0.4']) ?? best('text/*', []) ?? best('*/*', []) ?? 0;
  return open > 0 && open >= plain;
}

/** What is no quality makes a range that is not wanted. */
function mediaRange(text: string): MediaRange {
  const [type = '', ...parameters] = text.split(';').map((each) => each.trim().toLowerCase());
  const named = new Map(
    parameters.map((each) => {
      const [name = '', value = ''] = each.split('=', 2);
      return [name.trim(), value.trim().replaceAll('"', '')] as const;
    }),
  );
  const quality = named.get('q') ?? '1';
  return { type, version: named.get('version'), quality: QUALITY.test(quality) ? Number(quality) : 0 };
}
