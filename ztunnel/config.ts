/** The one place of ztunnel that reads flags and environment. */
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
  /** Where policies for all namespaces are; undefined: it may be any. */
  readonly rootNamespace: string | undefined;
  /** The agent's SEQPACKET socket. */
  readonly zds: string;
  readonly state: StateSource;
  readonly certificates: CertificateSource;
  readonly admin: ListenAddress;
  /** Path of the agent's status socket, whose metrics are shown beside those of our own. */
  readonly agentStatus?: string;
  readonly metrics: ListenAddress;
  readonly ready: ListenAddress;
  /** Whether to ask for egress rules: a control plane that is not Loam's does not answer for them. */
  readonly egressRules: boolean;
  /** Whether to ask for what the pods need of the mesh, and not to follow all of it. */
  readonly onDemand: boolean;
  readonly logLevel: LogLevel;
  /** How long connections that are open when it is told to end may go on. */
  readonly drainDeadlineMs: number;
  /** What the agent held is refused when nobody has kept it up to date for longer. */
  readonly heldStateMaxAgeMs: number;
  readonly certTtlSeconds: number;
  readonly connectionsPerPod: number;
  readonly tunnelsPerPod: number;
  readonly workerHeapMb: number;
  /** What the process may use before new connections are refused; 0: what the machine has. A cgroup's limit holds as well. */
  readonly memoryLimitMb: number;
  /** Whether admin may be asked for what costs connections time. */
  readonly diagnostics: boolean;
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Which flags there are, and what each admits; docs/reference/flags.md is made of them. */
export const FLAGS = {
  node: NAME,
  'cluster-id': CLUSTER_ID,
  network: NETWORK,
  'trust-domain': TRUST_DOMAIN,
  'root-namespace': NAME,
  zds: { pattern: /^[^\0]{1,107}$/, allowed: 'a path of at most 107 bytes' },
  'agent-status': { pattern: /^[^\0]{1,107}$/, allowed: 'a path of at most 107 bytes' },
  'xds-address': HTTPS_URL,
  'ca-address': HTTPS_URL,
  'xds-root': FILE,
  'ca-root': FILE,
  token: FILE,
  'static-state': FILE,
  'static-certs': FILE,
  admin: LISTEN,
  metrics: LISTEN,
  ready: LISTEN,
  'egress-rules': oneOfWords(['on', 'off']),
  'xds-on-demand': oneOfWords(['on', 'off']),
  'log-level': oneOfWords(LEVELS),
  'termination-grace-s': NUMBER,
  'drain-deadline-ms': NUMBER,
  'held-state-max-age-s': NUMBER,
  'cert-ttl-s': NUMBER,
  'max-connections-per-pod': NUMBER,
  'max-tunnels-per-pod': NUMBER,
  'worker-heap-mb': NUMBER,
  'memory-limit-mb': NUMBER,
  diagnostics: oneOfWords(['on', 'off']),
} as const;

type Flag = keyof typeof FLAGS;

export const DEFAULTS: Partial<Record<Flag, string>> = {
  'cluster-id': 'Kubernetes',
  network: '',
  'trust-domain': 'cluster.local',
  admin: '127.0.0.1:15000',
  metrics: '[::]:15020',
  ready: '[::]:15021',
  'egress-rules': 'on',
  'xds-on-demand': 'off',
  'log-level': 'info',
  'termination-grace-s': '30',
  'held-state-max-age-s': '86400',
  'cert-ttl-s': '86400',
  'max-connections-per-pod': '10000',
  'max-tunnels-per-pod': '2000',
  'worker-heap-mb': '1024',
  'memory-limit-mb': '0',
  diagnostics: 'off',
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
  const flags = readFlags(FLAGS, DEFAULTS, args, env);
  const value = flags.text;
  const { isGiven, number, listen } = flags;
  return {
    node: value('node'),
    clusterId: value('cluster-id'),
    network: value('network'),
    trustDomain: value('trust-domain'),
    rootNamespace: isGiven('root-namespace') ? value('root-namespace') : undefined,
    zds: value('zds'),
    ...(isGiven('agent-status') && { agentStatus: value('agent-status') }),
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
    egressRules: value('egress-rules') === 'on',
    onDemand: value('xds-on-demand') === 'on',
    logLevel: value('log-level') as LogLevel,
    drainDeadlineMs: isGiven('drain-deadline-ms')
      ? number('drain-deadline-ms', 0)
      : drainDeadlineMs(number('termination-grace-s', 0)),
    heldStateMaxAgeMs: number('held-state-max-age-s', 0) * 1000,
    certTtlSeconds: number('cert-ttl-s', 10),
    connectionsPerPod: number('max-connections-per-pod', 1),
    tunnelsPerPod: number('max-tunnels-per-pod', 1),
    workerHeapMb: number('worker-heap-mb', 64),
    memoryLimitMb: number('memory-limit-mb', 0),
    diagnostics: value('diagnostics') === 'on',
  };
}

/** What is left of a pod's termination grace period for open connections, as Istio's ztunnel reckons (ambient-facts C1). */
function drainDeadlineMs(graceSeconds: number): number {
  return Math.max(1, graceSeconds > 10 ? graceSeconds - 5 : graceSeconds - 1) * 1000;
}
