import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { peersFolder } from '../../cli/test-rings/rings.ts';
import type { DualStackPod, ServedPod } from './loam-side.ts';

/** Where the harness keeps its pairs; apart from a person's own runs of it. */
export const RUN_DIR = '/tmp/loam-interop';
const NAMESPACE_PREFIX = 'li';
const BINARIES = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'loam-peers');

/** The authority that the Rust ztunnel's FAKE_CA signs with: a public test key of its repository. */
export const FAKE_CA = {
  cert: join(peersFolder(), 'fake-ca', 'root-cert.pem'),
  key: join(peersFolder(), 'fake-ca', 'ca-key.pem'),
};

/** The environment that the harness's scripts read. */
export const HARNESS_ENV = {
  ...process.env,
  ...{ RUN_DIR, PFX: NAMESPACE_PREFIX, PEERS_BIN: BINARIES },
  ...{ ZTUNNEL: join(BINARIES, 'ztunnel'), FORTIO: join(BINARIES, 'fortio') },
};

/** Runs one script of the harness to its end and returns what it printed; throws with its output when it fails. */
export function harness(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  return execFileSync(join(peersFolder(), script), args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...HARNESS_ENV, ...env },
  });
}

/** Unpacks the Rust ztunnel where it is not yet. */
export function prepareZtunnel(): void {
  mkdirSync(BINARIES, { recursive: true });
  const binary = join(BINARIES, 'ztunnel');
  if (existsSync(binary)) return;
  const packed = join(peersFolder(), 'bin', 'ztunnel-62d8265-x86_64.xz');
  const unpacked = execFileSync('xz', ['-dc', packed], { maxBuffer: 1 << 28 });
  writeFileSync(binary, unpacked, { mode: 0o755 });
}

/** The two pods of a pair that setup.sh made. */
export function podsOf(pair: string): readonly [ServedPod, ServedPod] {
  const index = readFileSync(join(RUN_DIR, pair, 'index'), 'utf8').trim();
  return [
    { side: 'client', netns: `/run/netns/${NAMESPACE_PREFIX}-${pair}-c`, ip: `198.18.${index}.1` },
    { side: 'server', netns: `/run/netns/${NAMESPACE_PREFIX}-${pair}-s`, ip: `198.18.${index}.2` },
  ];
}

/** The network namespace of the node that a pair's pod is on; only the harness's shared mode uses it. */
export function nodeNetnsOf(pair: string, side: 'client' | 'server'): string {
  return `/run/netns/${NAMESPACE_PREFIX}-${pair}-${side === 'client' ? 'cn' : 'sn'}`;
}

/** The log of one of the harness's own proxies. */
export function rustLog(pair: string, side: 'client' | 'server'): string {
  return readFileSync(join(RUN_DIR, pair, `proxy-${side}.log`), 'utf8');
}

/**
 * Gives the pods of a pair an IPv6 address beside their IPv4 one, which the harness knows nothing of.
 *
 * @param redirected the side that the Rust ztunnel serves, which gets the harness's rules for IPv6 too
 */
export function withIpv6(
  pair: string,
  redirected: 'client' | 'server',
): readonly [DualStackPod, DualStackPod] {
  const [client, server] = podsOf(pair);
  const prefix = `fd00:${client.ip.split('.')[2] ?? ''}`;
  const pods = [
    { ...client, ip6: `${prefix}::1` },
    { ...server, ip6: `${prefix}::2` },
  ] as const;
  for (const pod of pods) {
    inPod(pod, ['ip', 'addr', 'add', `${pod.ip6}/64`, 'dev', 'eth0', 'nodad']);
    if (pod.side === redirected) redirectIpv6(pod);
  }
  return pods;
}

/** What the harness's setup.sh does for IPv4: the rules of Istio's in-pod redirection. */
function redirectIpv6(pod: ServedPod): void {
  const rules = `*mangle
:ISTIO_OUTPUT - [0:0]
:ISTIO_PRERT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
COMMIT
*nat
:ISTIO_OUTPUT - [0:0]
:ISTIO_PRERT - [0:0]
-A OUTPUT -j ISTIO_OUTPUT
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A ISTIO_OUTPUT ! -d ::1/128 -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d ::1/128 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
-A ISTIO_PRERT ! -d ::1/128 -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
COMMIT
`;
  inPod(pod, ['ip6tables-restore', '--wait', '10', '--noflush'], rules);
  inPod(pod, ['ip', '-6', 'route', 'add', 'local', '::/0', 'dev', 'lo', 'table', '100']);
  inPod(pod, ['ip', '-6', 'rule', 'add', 'fwmark', '0x111/0xfff', 'pref', '32764', 'lookup', '100']);
}

/** The Rust ztunnel's workloads, as the harness's run-ztunnel.sh writes them, with both addresses. @returns the file */
export function dualStackConfig(pair: string, pods: readonly DualStackPod[]): string {
  const path = join(RUN_DIR, pair, 'dual-stack.yaml');
  const workloads = pods.map(({ side, ip, ip6 }) => ({
    ...{ uid: `Kubernetes//Pod/default/${side}`, name: side, namespace: 'default', serviceAccount: side },
    ...{ trustDomain: 'cluster.local', workloadIps: [ip, ip6], protocol: 'HBONE', network: '' },
    ...{ node: side === 'client' ? 'node-a' : 'node-b', clusterId: 'Kubernetes', workloadName: side },
    ...{ workloadType: 'deployment', canonicalName: side, canonicalRevision: 'v1', services: {} },
  }));
  // JSON is YAML.
  writeFileSync(path, JSON.stringify({ workloads, policies: [], services: [] }));
  return path;
}

/** Takes away the harness's iptables rules from a pod that Loam serves: it needs none. */
export function withoutIptables(pod: ServedPod): void {
  for (const table of ['nat', 'mangle']) inPod(pod, ['iptables', '-t', table, '-F']);
}

/** Runs a command inside a pod and returns its output. */
export function inPod(pod: ServedPod, command: readonly string[], input = ''): string {
  return execFileSync('nsenter', [`--net=${pod.netns}`, ...command], {
    ...{ encoding: 'utf8', input, stdio: 'pipe' },
  });
}
