import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import type { ListenAddress } from './admin/listen-address.ts';

/** What one flag admits: a pattern for its text, and the words for an error message. */
export interface FlagRule {
  readonly pattern: RegExp;
  readonly allowed: string;
}

/** One line that names the setting, its value and what is allowed; ends the program with exit code 2. */
export class ConfigError extends Error {}

export const NAME: FlagRule = {
  pattern: /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
  allowed: 'a DNS name of at most 253 characters',
};
export const FILE: FlagRule = { pattern: /^[^\0]+$/, allowed: 'a path' };
export const HTTPS_URL: FlagRule = {
  pattern: /^https:\/\/[^/\s@]+:\d{1,5}\/?$/,
  allowed: 'https://HOST:PORT',
};
export const LISTEN: FlagRule = {
  pattern: /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]{2,45}\]):\d{1,5}$/,
  allowed: 'IPV4:PORT or [IPV6]:PORT, port 0 for any; [::] is every address of both families',
};
export const NUMBER: FlagRule = { pattern: /^\d{1,9}$/, allowed: 'a whole number of at most 9 digits' };
export const CLUSTER_ID: FlagRule = {
  pattern: /^[^/\s]{1,253}$/,
  allowed: 'a name without slash or space',
};
export const NETWORK: FlagRule = {
  pattern: /^[^/\s]{0,253}$/,
  allowed: 'a name without slash or space, or nothing',
};
export const TRUST_DOMAIN: FlagRule = {
  pattern: /^[a-z0-9._-]{1,255}$/,
  allowed: 'a SPIFFE trust domain: a-z, 0-9, dot, - and _',
};

/** A rule that admits exactly these words. */
export function oneOfWords(words: readonly string[]): FlagRule {
  return { pattern: new RegExp(`^(${words.join('|')})$`), allowed: words.join(', ') };
}

/** The values of a program's flags, checked one by one as they are asked for. */
export interface Flags<Flag extends string> {
  /** @throws ConfigError when it is missing or not allowed */
  readonly text: (flag: Flag) => string;
  readonly isGiven: (flag: Flag) => boolean;
  /** @throws ConfigError when it is below `least` */
  readonly number: (flag: Flag, least: number) => number;
  readonly listen: (flag: Flag) => ListenAddress;
}

/**
 * Reads `--flag value`, else the environment's `LOAM_FLAG`, else the default.
 *
 * @throws ConfigError for an unknown flag
 */
export function readFlags<Flag extends string>(
  rules: Readonly<Record<Flag, FlagRule>>,
  defaults: Partial<Record<Flag, string>>,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Flags<Flag> {
  const flags = parse(Object.keys(rules), args);
  const given = (flag: Flag): [name: string, text: string | undefined] => {
    const variable = `LOAM_${flag.toUpperCase().replaceAll('-', '_')}`;
    return flags[flag] !== undefined
      ? [`--${flag}`, flags[flag]]
      : [variable, env[variable] ?? defaults[flag]];
  };
  const text = (flag: Flag): string => {
    const [name, value] = given(flag);
    const { pattern, allowed } = rules[flag];
    if (value === undefined) throw new ConfigError(`--${flag} (or ${name}): missing; allowed: ${allowed}`);
    if (pattern.test(value)) return value;
    throw new ConfigError(`${name}: ${JSON.stringify(value)} is not allowed; allowed: ${allowed}`);
  };
  return {
    text,
    isGiven: (flag) => given(flag)[1] !== undefined,
    number: (flag, least) => {
      const parsed = Number(text(flag));
      if (parsed >= least) return parsed;
      throw new ConfigError(`${given(flag)[0]}: ${parsed} is not allowed; allowed: at least ${least}`);
    },
    listen: (flag) => {
      const value = text(flag);
      const colon = value.lastIndexOf(':');
      const host = value.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
      const port = Number(value.slice(colon + 1));
      if (port <= 65535 && isIP(host) !== 0) return { host, port };
      throw new ConfigError(
        `${given(flag)[0]}: ${JSON.stringify(text(flag))} is not allowed; allowed: ${LISTEN.allowed}`,
      );
    },
  };
}

function parse(known: readonly string[], args: readonly string[]): Partial<Record<string, string>> {
  const options = Object.fromEntries(known.map((flag) => [flag, { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...args], options, strict: true }).values;
  } catch (error) {
    const [line = ''] = (error as Error).message.split('\n');
    throw new ConfigError(`${line}; allowed: ${known.map((flag) => `--${flag}`).join(' ')}`);
  }
}
