import type { Traffic } from '../types.ts';

/** `idle`: nothing ended; `denied`: nothing but denials. */
export type Health = 'idle' | 'good' | 'warn' | 'bad' | 'denied';

/** From these shares of failures on. */
const WARN = 0.01;
const BAD = 0.05;

export function healthOf(traffic: Traffic | undefined): Health {
  if (traffic === undefined || (traffic.ended === 0 && traffic.active === 0)) return 'idle';
  if (traffic.denied > 0 && traffic.denied === traffic.ended) return 'denied';
  const failing = 1 - (traffic.success ?? 1);
  return failing >= BAD ? 'bad' : failing >= WARN ? 'warn' : 'good';
}

export const HEALTH_WORDS: Readonly<Record<Health, string>> = {
  idle: 'nothing lately',
  good: 'healthy',
  warn: 'some failures',
  bad: 'failing',
  denied: 'denied by policy',
};
