import { statSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import type { ListenAddress } from '../lib/admin/listen-address.ts';
import { type FlagName, wrong } from './config-flags.ts';
import { FORMATS } from './schema/formats.ts';

const MIN_TTL_S = 60;
const MAX_TTL_S = 365 * 24 * 3600;
const MAX_SOCKET_PATH = 107;
const PORT_MAX = 65535;

/** Checks of flags' values. Each throws ControllerError CONFIG naming flag, value and what is allowed. */

export function directory(name: FlagName, value: string): string {
  if (statSync(value, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw wrong(name, value, 'a directory that exists');
  return resolve(value);
}

export function socketPath(name: FlagName, value: string): string {
  const path = resolve(value);
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
    throw wrong(name, value, `a path of at most ${MAX_SOCKET_PATH} bytes`);
  return path;
}

export function listenAddress(name: FlagName, value: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(value);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3] ?? NaN);
  if (isIP(host) === 0 || !(port <= PORT_MAX))
    throw wrong(name, value, 'IP:PORT, for example 198.18.0.1:15012 or [::1]:15012');
  return { host, port };
}

export function formatted(name: FlagName, value: string, format: string): string {
  const known = FORMATS.find((each) => each.name === format);
  if (known?.check(value) !== true) throw wrong(name, value, known?.allowed ?? format);
  return value;
}

export function matching(name: FlagName, value: string, pattern: RegExp, allowed: string): string {
  if (!pattern.test(value)) throw wrong(name, value, allowed);
  return value;
}

export function seconds(name: FlagName, value: string): number {
  const number = /^[0-9]{1,10}$/.test(value) ? Number(value) : NaN;
  if (!(number >= MIN_TTL_S && number <= MAX_TTL_S))
    throw wrong(name, value, `whole seconds from ${MIN_TTL_S} to ${MAX_TTL_S}`);
  return number;
}

export function oneOf(name: FlagName, value: string, allowed: readonly string[]): string {
  if (!allowed.includes(value)) throw wrong(name, value, allowed.join(', '));
  return value;
}
