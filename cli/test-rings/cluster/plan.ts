/** Names, places and addresses of a test cluster. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Everything in 198.18.0.0/15 (RFC 2544), and only inside network namespaces of the cluster. */
export const ADDRESSES = {
  fabric: '198.18.0.1',
  control: '198.18.0.10',
  all: '198.18.0.0/15',
  pods: '198.18.128.0/17',
  services: '198.19.0.0/16',
  /** The first of the Services' range: Kubernetes gives it to its own API. */
  kubernetes: '198.19.0.1',
  dns: '198.19.0.10',
} as const;

export const API_PORT = 6443;
export const DNS_ZONE = 'cluster.local';
export const PAUSE_IMAGE = 'localhost/loam-cluster-pause:1';
export const COREDNS_IMAGE = 'localhost/loam-cluster-coredns:1';

export interface NodePlan {
  readonly name: string;
  readonly ip: string;
  readonly netns: string;
  /** What the node keeps over its restarts: containers, images, the kubelet's state. */
  readonly dir: string;
}

export interface ClusterPlan {
  readonly name: string;
  /** All that the cluster writes, removed with it. */
  readonly dir: string;
  readonly lock: string;
  readonly pki: string;
  readonly logs: string;
  readonly processes: string;
  /** What is told to tests; see ring.ts. */
  readonly told: string;
  /** Leads from the machine to the API server: a unix socket crosses network namespaces. */
  readonly apiSocket: string;
  readonly netnsPrefix: string;
  readonly fabric: string;
  readonly control: string;
  readonly nodes: readonly NodePlan[];
}

/** Where programs, images and clusters are kept between runs. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'loam', 'cluster');
}

/** @param name of one cluster among those of this machine: at most 8 lower-case letters and digits */
export function clusterPlan(name: string, nodes = 2): ClusterPlan {
  // Not `loam-…`: that is a local mesh's (cli/local/names.ts), which would take it for a leftover of its own.
  const prefix = `loamkube-${name}-`;
  const dir = join(cacheFolder(), 'run', name);
  return {
    name,
    dir,
    lock: join(cacheFolder(), `${name}.lock`),
    pki: join(dir, 'pki'),
    logs: join(dir, 'log'),
    processes: join(dir, 'processes'),
    told: join(dir, 'told'),
    apiSocket: join(dir, 'api.sock'),
    netnsPrefix: prefix,
    fabric: `${prefix}fabric`,
    control: `${prefix}control`,
    nodes: Array.from({ length: nodes }, (_, i) => ({
      name: `node${i + 1}`,
      ip: `198.18.0.${11 + i}`,
      netns: `${prefix}node${i + 1}`,
      dir: join(dir, 'nodes', `node${i + 1}`),
    })),
  };
}
