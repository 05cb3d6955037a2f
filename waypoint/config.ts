/** The one place of the waypoint that reads flags and environment. */
import type { ListenAddress } from '../lib/admin/listen-address.ts';
import {
  CLUSTER_ID,
  FILE,
  HTTPS_URL,
  LISTEN,
  NAME,
  NETWORK,
  NUMBER,
  oneOfWords,
  readFlags,
  TRUST_DOMAIN,
} from '../lib/flags.ts';
import type { LogLevel } from '../lib/mesh/log.ts';

export interface WaypointConfig {
  /** The Gateway that this process is an instance of. */
  readonly gateway: { readonly namespace: string; readonly name: string };
  /** For the log and locality; empty when it is not known. */
  readonly node: string;
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
  readonly xds: { readonly address: string; readonly rootFile: string; readonly tokenFile: string };
  readonly ca: { readonly address: string; readonly rootFile: string; readonly tokenFile: string };
  /** Where HBONE comes in. */
  readonly listen: ListenAddress;
  readonly admin: ListenAddress;
  readonly metrics: ListenAddress;
  readonly ready: ListenAddress;
  readonly logLevel: LogLevel;
  readonly workers: number;
  readonly workerHeapMb: number;
  /** What the process may use before new connections are refused; 0: what the machine has. A cgroup's limit holds as well. */
  readonly memoryLimitMb: number;
  /** Whether admin may be asked for what costs connections time. */
  readonly diagnostics: boolean;
  readonly drainDeadlineMs: number;
  readonly certTtlSeconds: number;
  /** HBONE connections of one worker. */
  readonly maxTunnels: number;
  /** Client connections (streams) of one worker. */
  readonly maxConnections: number;
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Which flags there are, and what each admits; docs/reference/flags.md is made of them. */
export const FLAGS = {
  gateway: {
    pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
    allowed: 'NAMESPACE/NAME of a Gateway',
  },
  node: { pattern: /^[a-z0-9.-]{0,253}$/, allowed: NAME.allowed },
  'cluster-id': CLUSTER_ID,
  network: NETWORK,
  'trust-domain': TRUST_DOMAIN,
  'xds-address': HTTPS_URL,
  'ca-address': HTTPS_URL,
  'xds-root': FILE,
  'ca-root': FILE,
  token: FILE,
  listen: LISTEN,
  admin: LISTEN,
  metrics: LISTEN,
  ready: LISTEN,
  'log-level': oneOfWords(LEVELS),
  workers: NUMBER,
  'worker-heap-mb': NUMBER,
  'memory-limit-mb': NUMBER,
  diagnostics: oneOfWords(['on', 'off']),
  'drain-deadline-ms': NUMBER,
  'cert-ttl-s': NUMBER,
  'max-tunnels': NUMBER,
  'max-connections': NUMBER,
} as const;

export const DEFAULTS: Partial<Record<keyof typeof FLAGS, string>> = {
  node: '',
  'cluster-id': 'Kubernetes',
  network: '',
  'trust-domain': 'cluster.local',
  listen: '[::]:15008',
  admin: '127.0.0.1:15000',
  metrics: '[::]:15020',
  ready: '[::]:15021',
  'log-level': 'info',
  // Bounds of a TrafficPolicy count for one worker; more capacity comes by more instances (docs/decisions/0072).
  workers: '1',
  'worker-heap-mb': '1024',
  'memory-limit-mb': '0',
  diagnostics: 'off',
  'drain-deadline-ms': '30000',
  'cert-ttl-s': '86400',
  'max-tunnels': '10000',
  'max-connections': '50000',
};

/**
 * Reads `--flag value`, else the environment's `LOAM_FLAG`, else the default.
 *
 * @throws ConfigError for an unknown flag, a missing or a bad value
 */
export function readConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): WaypointConfig {
  const { text, number, listen } = readFlags(FLAGS, DEFAULTS, args, env);
  const [namespace = '', name = ''] = text('gateway').split('/');
  return {
    gateway: { namespace, name },
    node: text('node'),
    clusterId: text('cluster-id'),
    network: text('network'),
    trustDomain: text('trust-domain'),
    xds: { address: text('xds-address'), rootFile: text('xds-root'), tokenFile: text('token') },
    ca: { address: text('ca-address'), rootFile: text('ca-root'), tokenFile: text('token') },
    listen: listen('listen'),
    admin: listen('admin'),
    metrics: listen('metrics'),
    ready: listen('ready'),
    logLevel: text('log-level') as LogLevel,
    workers: number('workers', 1),
    workerHeapMb: number('worker-heap-mb', 64),
    memoryLimitMb: number('memory-limit-mb', 0),
    diagnostics: text('diagnostics') === 'on',
    drainDeadlineMs: number('drain-deadline-ms', 0),
    certTtlSeconds: number('cert-ttl-s', 10),
    maxTunnels: number('max-tunnels', 1),
    maxConnections: number('max-connections', 1),
  };
}
