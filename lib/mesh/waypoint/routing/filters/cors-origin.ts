import type { Cors } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

interface Origin {
  readonly scheme: string;
  readonly host: string;
  /** '' for the scheme's own. */
  readonly port: string;
}

const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\s:[\]]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}|\*))?$/i;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };

function parseOrigin(text: string): Origin | undefined {
  const [, scheme, host, port = ''] = ORIGIN.exec(text) ?? [];
  if (scheme === undefined || host === undefined) return undefined;
  const lower = scheme.toLowerCase();
  return { scheme: lower, host: host.toLowerCase(), port: port === DEFAULT_PORTS[lower] ? '' : port };
}

/** Which origins a CORS filter allows. */
export interface AllowedOrigins {
  /** `*` is among them. */
  readonly all: boolean;
  allows(origin: string): boolean;
}

const compiled = new WeakMap<Cors, AllowedOrigins>();

/** Compiles the origins of a filter, once for each message. */
export function allowedOrigins(cors: Cors): AllowedOrigins {
  const known = compiled.get(cors);
  if (known !== undefined) return known;
  const patterns = cors.allowOrigins.map(parseOrigin).filter((origin) => origin !== undefined);
  const all = cors.allowOrigins.includes('*');
  const result: AllowedOrigins = {
    all,
    allows: (text) => {
      if (all) return true;
      const origin = parseOrigin(text);
      return origin !== undefined && patterns.some((pattern) => covers(pattern, origin));
    },
  };
  compiled.set(cors, result);
  return result;
}

/** Whether a configured origin can be understood; `*` is every one. */
export function isOriginPattern(text: string): boolean {
  if (text === '*') return true;
  const origin = parseOrigin(text);
  return origin !== undefined && origin.host.split('*').length <= 2;
}

/** The asterisk of a host stands for one label or more (Gateway API, HTTPCORSFilter.allowOrigins). */
function covers(pattern: Origin, origin: Origin): boolean {
  if (pattern.scheme !== origin.scheme || (pattern.port !== '*' && pattern.port !== origin.port))
    return false;
  const [before = '', after] = pattern.host.split('*');
  if (after === undefined) return pattern.host === origin.host;
  const { host } = origin;
  return host.length > before.length + after.length && host.startsWith(before) && host.endsWith(after);
}
