import ipaddr from 'ipaddr.js';
import type { Format } from './formats.ts';

/** RFC 9110 section 5.6.2, token. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/;
/** RFC 9110 section 5.5 without obs-text; no blank at either end, so that it is one value on every hop. */
const FIELD_VALUE = /^[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?$/;
const FIELD_VALUE_MAX = 4096;
const HOSTNAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const HOSTNAME_MAX = 253;
/** A namespace and a name that is a DNS label too, since it becomes that of a Service. */
const GATEWAY_KEY = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** GEP-2257: 1 to 4 parts, each of 1 to 5 digits with its unit. */
const DURATION = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/;
const DURATION_PART = /([0-9]{1,5})(ms|h|m|s)/g;
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
/** Timers of the waypoint take no more (2^31 - 1 ms, about 24 days). */
const DURATION_MAX_MS = 2_147_483_647;
/** GEP-1767: scheme://host[:port], `*` in place of the host's first part or of all of it. */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/(\*|(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?)(:[0-9]{1,5})?$/;

/** The milliseconds of a duration that has passed {@link GATEWAY_FORMATS}: `1h30m`, `500ms` (GEP-2257). */
export function durationMs(text: string): number {
  let sum = 0;
  for (const [, count = '0', unit = 'ms'] of text.matchAll(DURATION_PART))
    sum += Number(count) * (UNIT_MS[unit] ?? 1);
  return sum;
}

function isHostname(value: string): boolean {
  return value.length <= HOSTNAME_MAX && HOSTNAME.test(value) && !ipaddr.IPv4.isValidFourPartDecimal(value);
}

export const GATEWAY_FORMATS: readonly Format[] = [
  {
    name: 'gateway-key',
    allowed: '<namespace>/<name of a Gateway>',
    check: (value) => GATEWAY_KEY.test(value),
  },
  {
    name: 'header-name',
    allowed: "letters, digits and !#$%&'*+-.^_`|~ (RFC 9110), at most 256",
    check: (value) => TOKEN.test(value),
  },
  {
    name: 'header-name-or-star',
    allowed: 'a header\'s name, or "*"',
    check: (value) => TOKEN.test(value),
  },
  {
    name: 'header-value',
    allowed: 'visible ASCII characters, blanks only between them, at most 4096 (RFC 9110)',
    check: (value) => value.length <= FIELD_VALUE_MAX && FIELD_VALUE.test(value),
  },
  {
    name: 'precise-hostname',
    allowed: 'a DNS name in lower case without "*", not an IP address',
    check: isHostname,
  },
  {
    name: 'route-hostname',
    allowed: 'a DNS name in lower case, "*." before it for any names below it; not an IP address',
    check: (value) => isHostname(value.startsWith('*.') ? value.slice(2) : value),
  },
  {
    name: 'gateway-duration',
    allowed: 'up to four parts of digits with h, m, s or ms, for example 1h30m or 500ms; at most 24 days',
    check: (value) => DURATION.test(value) && durationMs(value) <= DURATION_MAX_MS,
  },
  {
    name: 'cors-origin',
    allowed: '"*", or scheme://host[:port], "*" or "*." in place of the host or of its first parts',
    check: (value) => value === '*' || ORIGIN.test(value),
  },
];
