/** What the experiments print. */
import type { Connections, Streams } from './scene.ts';

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** For example `3 of 100 cut (120 to 340 ms: ECONNRESET 3)`, counted from a moment. */
export function streamsText({ streams, cuts }: Streams, from: number): string {
  return `${cuts.length} of ${streams} streams cut${whenText(cuts, from)}`;
}

export function connectionsText({ made, failures, slowest, p50, p99 }: Connections, from: number): string {
  const times = `median ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, slowest ${slowest.ms.toFixed(0)} ms at ${(slowest.at - from).toFixed(0)}`;
  return `${failures.length} of ${made} new connections failed${whenText(failures, from)}; ${times}`;
}

function whenText(moments: readonly { at: number; why: string }[], from: number): string {
  if (moments.length === 0) return '';
  const at = moments.map((moment) => moment.at - from);
  const why: Record<string, number> = {};
  for (const moment of moments) why[moment.why] = (why[moment.why] ?? 0) + 1;
  const reasons = Object.entries(why).map(([name, count]) => `${name} ${count}`);
  return ` (${Math.min(...at).toFixed(0)} to ${Math.max(...at).toFixed(0)} ms: ${reasons.join(', ')})`;
}
