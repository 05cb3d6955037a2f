import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';

/** One command of a ring that is not a mocha suite: it passes when it exits with 0. */
export interface Check {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

/** A ring of tests, from the quickest and nearest outward. */
export type Ring =
  | {
      readonly kind: 'mocha';
      readonly name: string;
      readonly folder: string;
      readonly needs: () => readonly string[];
    }
  | { readonly kind: 'checks'; readonly name: string; readonly checks: readonly Check[] }
  /** Other kernels, in virtual machines: see vm/ring.ts. */
  | { readonly kind: 'vm'; readonly name: string }
  /** Mocha suites in a Kubernetes cluster that is made for them: see cluster/ring.ts. */
  | {
      readonly kind: 'cluster';
      readonly name: string;
      readonly folder: string;
      /** Only these, in place of the folder. */
      readonly files?: readonly string[];
    }
  /** The Gateway API's own suite, in such a cluster: see conformance/ring.ts. */
  | { readonly kind: 'conformance'; readonly name: string };

const nothing = (): readonly string[] => [];

/** The folder with the Rust ztunnel and its harness; it is beside the clone where there is one. */
export function peersFolder(): string {
  return join(dirname(packageRoot()), 'shared', 'peers');
}

function interopNeeds(): readonly string[] {
  const peers = peersFolder();
  return existsSync(join(peers, 'prepare.sh'))
    ? []
    : [`${peers}: the Rust ztunnel and its harness (not part of the clone)`];
}

/**
 * What of the ring `cluster` CI runs: the scenarios that show most, some six minutes on two cores. The programs of the cluster take a
 * quarter of an hour more where they were never built.
 */
const CLUSTER_MAIN = [
  'mesh/enrolment',
  'probes',
  'mesh/workloads',
  'mesh/failover',
  'mesh/waypoint',
  'mesh/reboot',
  'mesh/lifecycle',
].map((name) => `test/cluster/${name}.test.ts`);

export const RINGS: readonly Ring[] = [
  { kind: 'mocha', name: 'unit', folder: 'unit', needs: nothing },
  { kind: 'mocha', name: 'bpf', folder: 'bpf', needs: nothing },
  { kind: 'mocha', name: 'mesh', folder: 'mesh', needs: nothing },
  { kind: 'mocha', name: 'demo', folder: 'demo', needs: nothing },
  { kind: 'mocha', name: 'fuzz', folder: 'fuzz', needs: nothing },
  { kind: 'mocha', name: 'interop', folder: 'interop', needs: interopNeeds },
  {
    kind: 'checks',
    name: 'static',
    checks: [
      { name: 'types', command: ['node_modules/.bin/tsc', '-p', 'tsconfig.json'] },
      {
        name: "types of the dashboard's page",
        command: ['node_modules/.bin/tsc', '-p', 'dashboard/tsconfig.json'],
      },
      { name: 'lint and import arrows', command: ['node_modules/.bin/eslint', '.'] },
      { name: 'format', command: ['node_modules/.bin/prettier', '--check', '.'] },
      { name: 'generated protobuf code', command: ['sh', 'proto/generate.sh', '--check'] },
      { name: 'prebuilt BPF objects', command: ['sh', 'bpf/build.sh', '--check'] },
      { name: 'prebuilt network plugin', command: ['sh', 'cni/build.sh', '--check'] },
    ],
  },
  { kind: 'vm', name: 'vm' },
  { kind: 'mocha', name: 'attack', folder: 'attack', needs: nothing },
  { kind: 'mocha', name: 'soak', folder: 'soak', needs: nothing },
  /** 300,000 connections of each IP family: some minutes. */
  { kind: 'mocha', name: 'ports', folder: 'ports', needs: nothing },
  /** Crowds, memory that ends, an authority that is away past the lives of certificates: some minutes. */
  { kind: 'mocha', name: 'faults', folder: 'faults', needs: nothing },
  /** Twenty thousand connections while ztunnels are replaced: some minutes. */
  { kind: 'mocha', name: 'upgrade', folder: 'upgrade', needs: nothing },
  { kind: 'cluster', name: 'cluster', folder: 'cluster' },
  { kind: 'cluster', name: 'cluster-main', folder: 'cluster', files: CLUSTER_MAIN },
  { kind: 'conformance', name: 'conformance' },
  /** The dashboard in a real Chromium; LOAM_SHOTS=FOLDER keeps its pictures. */
  { kind: 'mocha', name: 'browser', folder: 'browser', needs: nothing },
];

/** What `./loam test` runs when no ring is named: all that the clone alone can show. */
export const DEFAULT_RINGS = ['unit', 'bpf', 'mesh', 'demo'] as const;
