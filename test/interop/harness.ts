import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { peersFolder } from '../../cli/test-rings/rings.ts';
import type { ServedPod } from './loam-side.ts';

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

/** Takes away the harness's iptables rules from a pod that Loam serves: it needs none. */
export function withoutIptables(pod: ServedPod): void {
  for (const table of ['nat', 'mangle']) inPod(pod, ['iptables', '-t', table, '-F']);
}

/** Runs a command inside a pod and returns its output. */
export function inPod(pod: ServedPod, command: readonly string[]): string {
  return execFileSync('nsenter', [`--net=${pod.netns}`, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
