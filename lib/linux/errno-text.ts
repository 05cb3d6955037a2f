import { constants } from 'node:os';

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** The name of an error number of this machine, for example `ECONNREFUSED`. */
export function errnoText(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}
