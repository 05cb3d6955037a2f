/** A few network namespaces on one bridge, playing pods. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { closeFd } from '../../../lib/linux/libc.ts';
import { netnsCookie, openNetns } from '../../../lib/linux/netns.ts';

const BRIDGE_SETTINGS = '/proc/sys/net/bridge';
/** All names begin so: what a test run left is easily told. */
export const PREFIX = 'lbt';
let labs = 0;

/** A namespace with loopback, and eth0 on the lab's bridge. */
export interface Pod {
  readonly netns: string;
  readonly netnsFd: number;
  readonly cookie: bigint;
  readonly ip: string;
  readonly ip6: string;
  /** What it is enrolled with. */
  readonly ips: readonly string[];
  /** Name of its veth's other end, on the bridge. */
  readonly port: string;
}

/** Runs a command line to its end. */
export function run(command: string): string {
  return execFileSync('sh', ['-ec', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Commands of ip(8) in a namespace, by one process: on an emulated machine each costs. */
function batch(netns: string, commands: readonly string[]): void {
  execFileSync('ip', ['-n', netns, '-batch', '-'], { input: commands.join('\n'), stdio: 'pipe' });
}

/** Disposed of, it leaves no namespace behind. */
export class Lab implements Disposable {
  readonly #bridge: string;
  readonly #pods = new Map<string, Pod>();
  #made = 0;
  readonly #name: string;
  /** The namespace of the bridge, where the pods' veths end: to a guard, the host. */
  readonly hostNetnsFd: number;

  constructor() {
    labs += 1;
    this.#name = `${PREFIX}${process.pid}-${labs}`;
    this.#bridge = `${this.#name}-br`;
    run(`ip netns add ${this.#bridge}`);
    batch(this.#bridge, ['link add br0 type bridge', 'link set br0 up']);
    // A machine with br_netfilter drops at the bridge what is malformed, and may ask its iptables; others do not.
    if (existsSync(BRIDGE_SETTINGS))
      this.onHost(
        `sh -c 'for each in ${BRIDGE_SETTINGS}/bridge-nf-call-*; do [ ! -e "$each" ] || echo 0 >"$each"; done'`,
      );
    this.hostNetnsFd = openNetns(`/run/netns/${this.#bridge}`);
  }

  /** Runs a command line in the namespace of the bridge. */
  onHost(command: string): string {
    return run(`nsenter --net=/run/netns/${this.#bridge} ${command}`);
  }

  /** Name of the namespace of the bridge. */
  get hostNetns(): string {
    return this.#bridge;
  }

  /** Index of the other end of a pod's veth, on the bridge. */
  portIndex(pod: Pod): number {
    return Number(this.onHost(`ip -o link show dev ${pod.port}`).split(':')[0]);
  }

  /** Makes a pod with a new address, or with one that is given (that of a pod which is gone). */
  pod(name: string, ip?: string): Pod {
    this.#made += 1;
    const netns = `${this.#name}-${name}`;
    const number = ip === undefined ? this.#made : Number(ip.split('.')[3]);
    const ip4 = `198.18.80.${number}`;
    const ip6 = `fd00:80::${number}`;
    const port = `p${this.#made}`;
    run(`ip netns add ${netns}`);
    batch(netns, ['link set lo up', `link add eth0 type veth peer name ${port} netns ${this.#bridge}`]);
    batch(this.#bridge, [`link set ${port} master br0`, `link set ${port} up`]);
    batch(netns, [
      `addr add ${ip4}/24 dev eth0`,
      `addr add ${ip6}/64 dev eth0 nodad`,
      'link set eth0 up',
      'route add default dev eth0',
    ]);
    const netnsFd = openNetns(`/run/netns/${netns}`);
    const pod = { netns, netnsFd, cookie: netnsCookie(netnsFd), ip: ip4, ip6, ips: [ip4, ip6], port };
    this.#pods.set(netns, pod);
    return pod;
  }

  /** Takes a pod away, as the end of its sandbox does. */
  remove(pod: Pod): void {
    this.#pods.delete(pod.netns);
    closeFd(pod.netnsFd);
    run(`ip netns del ${pod.netns}`);
  }

  [Symbol.dispose](): void {
    for (const pod of this.#pods.values()) this.remove(pod);
    closeFd(this.hostNetnsFd);
    run(`ip netns del ${this.#bridge}`);
  }
}

/** Sets a sysctl of a pod. */
export function sysctl(pod: Pod, name: string, value: string): void {
  run(`nsenter --net=/run/netns/${pod.netns} sh -c 'echo "${value}" >/proc/sys/${name}'`);
}

/** The index of a pod's eth0. */
export function interfaceIndex(pod: Pod): number {
  return Number(run(`ip -n ${pod.netns} -o link show eth0`).split(':')[0]);
}
