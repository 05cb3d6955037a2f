/** The one place of ztunnel that reads flags and environment. */
import { parseArgs } from 'node:util';
import type { ListenAddress } from '../lib/admin/listen-address.ts';
import type { LogLevel } from './worker/messages.ts';

/** Where workloads, services and policies come from. */
export type StateSource =
  | { readonly from: 'xds'; readonly address: string; readonly rootFile: string; readonly tokenFile: string }
  | { readonly from: 'file'; readonly path: string };

/** Where certificates come from. */
export type CertificateSource =
  | { readonly from: 'ca'; readonly address: string; readonly rootFile: string; readonly tokenFile: string }
  | { readonly from: 'folder'; readonly path: string };

export interface ZtunnelConfig {
  readonly node: string;
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
  /** The agent's SEQPACKET socket. */
  readonly zds: string;
  readonly state: StateSource;
  readonly certificates: CertificateSource;
  readonly admin: ListenAddress;
  readonly metrics: ListenAddress;
  readonly ready: ListenAddress;
  readonly logLevel: LogLevel;
  readonly drainDeadlineMs: number;
  readonly certTtlSeconds: number;
  readonly connectionsPerPod: number;
  readonly tunnelsPerPod: number;
  readonly workerHeapMb: number;
}

/** One line that names the setting, its value and what is allowed; ends the program with exit code 2. */
export class ConfigError extends Error {}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];
const NAME = {
  pattern: /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
  allowed: 'a DNS name of at most 253 characters',
};
const FILE = { pattern: /^[^\0]+$/, allowed: 'a path' };
const URL = { pattern: /^https:\/\/[^/\s@]+:\d{1,5}\/?$/, allowed: 'https://HOST:PORT' };
const LISTEN = { pattern: /^\d{1,3}(\.\d{1,3}){3}:\d{1,5}$/, allowed: 'IPV4:PORT, port 0 for any' };
const NUMBER = { pattern: /^\d{1,9}$/, allowed: 'a whole number of at most 9 digits' };

const FLAGS = {
  node: NAME,
  'cluster-id': { pattern: /^[^/\s]{1,253}$/, allowed: 'a name without slash or space' },
  network: { pattern: /^[^/\s]{0,253}$/, allowed: 'a name without slash or space, or nothing' },
  'trust-domain': {
    pattern: /^[a-z0-9._-]{1,255}$/,
    allowed: 'a SPIFFE trust domain: a-z, 0-9, dot, - and _',
  },
  zds: { pattern: /^[^\0]{1,107}$/, allowed: 'a path of at most 107 bytes' },
  'xds-address': URL,
  'ca-address': URL,
  'xds-root': FILE,
  'ca-root': FILE,
  token: FILE,
  'static-state': FILE,
  'static-certs': FILE,
  admin: LISTEN,
  metrics: LISTEN,
  ready: LISTEN,
  'log-level': { pattern: new RegExp(`^(${LEVELS.join('|')})$`), allowed: LEVELS.join(', ') },
  'drain-deadline-ms': NUMBER,
  'cert-ttl-s': NUMBER,
  'max-connections-per-pod': NUMBER,
  'max-tunnels-per-pod': NUMBER,
  'worker-heap-mb': NUMBER,
} as const;

type Flag = keyof typeof FLAGS;

const DEFAULTS: Partial<Record<Flag, string>> = {
  'cluster-id': 'Kubernetes',
  network: '',
  'trust-domain': 'cluster.local',
  admin: '127.0.0.1:15000',
  metrics: '0.0.0.0:15020',
  ready: '0.0.0.0:15021',
  'log-level': 'info',
  'drain-deadline-ms': '5000',
  'cert-ttl-s': '86400',
  'max-connections-per-pod': '10000',
  'max-tunnels-per-pod': '2000',
  'worker-heap-mb': '1024',
};

/**
 * Reads `--flag value`, else the environment's `LOAM_FLAG`, else the default.
 *
 * @throws ConfigError for an unknown flag, a missing or a bad value
 */
export function readConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): ZtunnelConfig {
  const flags = parse(args);
  const given = (flag: Flag): [name: string, text: string | undefined] => {
    const variable = `LOAM_${flag.toUpperCase().replaceAll('-', '_')}`;
    return flags[flag] !== undefined
      ? [`--${flag}`, flags[flag]]
      : [variable, env[variable] ?? DEFAULTS[flag]];
  };
  const value = (flag: Flag): string => {
    const [name, text] = given(flag);
    const { pattern, allowed } = FLAGS[flag];
    if (text === undefined) throw new ConfigError(`--${flag} (or ${name}): missing; allowed: ${allowed}`);
    if (pattern.test(text)) return text;
    throw new ConfigError(`${name}: ${JSON.stringify(text)} is not allowed; allowed: ${allowed}`);
  };
  const isGiven = (flag: Flag): boolean => given(flag)[1] !== undefined;
  const number = (flag: Flag, least: number): number => {
    const parsed = Number(value(flag));
    if (parsed >= least) return parsed;
    throw new ConfigError(`${given(flag)[0]}: ${parsed} is not allowed; allowed: at least ${least}`);
  };
  const listen = (flag: Flag): ListenAddress => {
    const [host = '', port = ''] = value(flag).split(':');
    if (Number(port) <= 65535 && host.split('.').every((part) => Number(part) <= 255)) {
      return { host, port: Number(port) };
    }
    throw new ConfigError(
      `${given(flag)[0]}: ${JSON.stringify(value(flag))} is not allowed; allowed: ${LISTEN.allowed}`,
    );
  };
  return {
    node: value('node'),
    clusterId: value('cluster-id'),
    network: value('network'),
    trustDomain: value('trust-domain'),
    zds: value('zds'),
    state: isGiven('static-state')
      ? { from: 'file', path: value('static-state') }
      : {
          from: 'xds',
          address: value('xds-address'),
          rootFile: value('xds-root'),
          tokenFile: value('token'),
        },
    certificates: isGiven('static-certs')
      ? { from: 'folder', path: value('static-certs') }
      : { from: 'ca', address: value('ca-address'), rootFile: value('ca-root'), tokenFile: value('token') },
    admin: listen('admin'),
    metrics: listen('metrics'),
    ready: listen('ready'),
    logLevel: value('log-level') as LogLevel,
    drainDeadlineMs: number('drain-deadline-ms', 0),
    certTtlSeconds: number('cert-ttl-s', 10),
    connectionsPerPod: number('max-connections-per-pod', 1),
    tunnelsPerPod: number('max-tunnels-per-pod', 1),
    workerHeapMb: number('worker-heap-mb', 64),
  };
}

function parse(args: readonly string[]): Partial<Record<Flag, string>> {
  const options = Object.fromEntries(Object.keys(FLAGS).map((flag) => [flag, { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...args], options, strict: true }).values;
  } catch (error) {
    const known = Object.keys(FLAGS).map((flag) => `--${flag}`);
    const [line = ''] = (error as Error).message.split('\n');
    throw new ConfigError(`${line}; allowed: ${known.join(' ')}`);
  }
}
