import type { Headers } from '../../../lib/mesh/waypoint/request.ts';

const NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

/** Header lines as Node's parsers hand them on: names in lower case, values without controls, one text for each name. */
export function parseHeaderLines(input: Buffer): Headers {
  const headers = Object.create(null) as Headers;
  for (const line of input.toString('latin1').split('\n').slice(0, 40)) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    const value = line.slice(colon + 1).trim();
    // eslint-disable-next-line no-control-regex
    if (!NAME.test(name) || /[\x00-\x08\x0a-\x1f\x7f]/.test(value)) continue;
    const former = headers[name];
    headers[name] = former === undefined ? value : `${String(former)}, ${value}`;
  }
  return headers;
}
