import { canonicalIp } from '../state/ip.ts';

/** An IP address in its one written form (ip.ts), and a port. */
export interface HostPort {
  readonly ip: string;
  readonly port: number;
}

/** A bare IPv6 address would be ambiguous before a port: it has brackets (RFC 3986 section 3.2.2). No zones. */
const HOST_PORT = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-fA-F]*:[0-9a-fA-F:.]{1,45})\]):(\d{1,5})$/;
const HIGHEST_PORT = 65535;

/** An address and port as text: `198.18.1.2:80`, `[fd00::2]:80`. */
export function hostPortText({ ip, port }: HostPort): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/**
 * Reads what {@link hostPortText} writes; the address comes out in its one written form, so that IPv4-mapped IPv6 is
 * IPv4.
 *
 * @returns undefined for all else: names, zones, an IPv6 address without brackets, port 0
 */
export function parseHostPort(text: unknown): HostPort | undefined {
  const match = typeof text === 'string' ? HOST_PORT.exec(text) : null;
  if (match === null) return undefined;
  const [, v4, v6, digits] = match;
  const ip = canonicalIp(v4 ?? v6 ?? '');
  const port = Number(digits);
  if (ip === undefined || port < 1 || port > HIGHEST_PORT) return undefined;
  return { ip, port };
}
