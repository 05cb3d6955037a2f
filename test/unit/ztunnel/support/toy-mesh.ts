import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import net, { type Socket } from 'node:net';
import { openNetns } from '../../../../lib/linux/netns.ts';
import { adoptUnconnected, bindTo, closeFd, tcpSocket } from '../../../../lib/linux/socket.ts';
import { spiffeUri } from '../../../../lib/spiffe.ts';
import { CertificateStore } from '../../../../lib/mesh/hbone/certificate-store.ts';
import { ConnectionRegistry } from '../../../../ztunnel/proxy/connection-registry.ts';
import { DescriptorReserve } from '../../../../lib/mesh/hbone/descriptor-reserve.ts';
import type { AddressDemand } from '../../../../ztunnel/on-demand/address-demand.ts';
import type { EgressStore } from '../../../../lib/mesh/egress/egress-store.ts';
import { MemoryReserve, type MemoryUse } from '../../../../lib/mesh/hbone/memory-reserve.ts';
import { HbonePool } from '../../../../lib/mesh/hbone/hbone-pool.ts';
import type { HostPort } from '../../../../lib/mesh/hbone/hbone-headers.ts';
import { MemoryRelief } from '../../../../ztunnel/proxy/memory-relief.ts';
import type { Mesh } from '../../../../ztunnel/proxy/mesh.ts';
import { InternalSources, type PodSockets } from '../../../../ztunnel/proxy/pod-sockets.ts';
import type { Match, Policy, Workload } from '../../../../lib/mesh/state/model.ts';
import { FirstState } from '../../../../lib/mesh/state/first-state.ts';
import { PolicyStore } from '../../../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../../../lib/mesh/state/workload-store.ts';
import type { AccessRecord } from '../../../../lib/mesh/telemetry/access-log.ts';
import { FlowMetrics } from '../../../../ztunnel/telemetry/flow-metrics.ts';
import type { TestCa } from './certificates.ts';

export type ToyMesh = Mesh & { readonly records: AccessRecord[] };

/** What one ztunnel's worker shares, without a control plane. Its first state counts as complete unless said otherwise. */
export function toyMesh(
  options: {
    pool?: HbonePool;
    stateWaitMs?: number;
    firstState?: FirstState;
    egress?: EgressStore;
    demand?: AddressDemand;
    /** What counts as used; as asked for each new connection. */
    memory?: () => readonly MemoryUse[];
  } = {},
): ToyMesh {
  const firstState = options.firstState ?? new FirstState();
  if (options.firstState === undefined) firstState.setComplete();
  const records: AccessRecord[] = [];
  const silent = (): void => undefined;
  const registry = new ConnectionRegistry();
  const mesh: ToyMesh = {
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    limits: { connectionsPerPod: 100, tunnelsPerPod: 10, stateWaitMs: options.stateWaitMs ?? 5_000 },
    descriptors: new DescriptorReserve(),
    memory: new MemoryReserve({
      limit: 0,
      open: () => 0,
      onChange: () => undefined,
      ...(options.memory && { measure: options.memory, open: () => 1, reclaim: () => undefined }),
    }),
    relief: new MemoryRelief({
      registry,
      limit: () => mesh.memory.nearestLimit,
      onCut: (_pod, count) => {
        for (let i = 0; i < count; i += 1) mesh.metrics.refused('cut-for-memory');
      },
    }),
    firstState,
    workloads: new WorkloadStore(),
    policies: new PolicyStore(),
    egress: options.egress,
    demand: options.demand,
    certificates: new CertificateStore(),
    pool: options.pool ?? new HbonePool(),
    registry,
    metrics: new FlowMetrics(),
    access: (record) => void records.push(record),
    log: { debug: silent, info: silent, warn: silent, error: silent },
    records,
  };
  return mesh;
}

/** A pod's workload as the control plane would tell it. */
export function toyWorkload(name: string, ip: string, changes: Partial<Workload> = {}): Workload {
  return {
    kind: 'workload',
    uid: `Kubernetes//Pod/default/${name}`,
    name,
    namespace: 'default',
    identity: { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: name },
    addresses: [ip],
    network: '',
    hostname: '',
    tunnelProtocol: 'hbone',
    node: 'node-a',
    canonicalName: name,
    canonicalRevision: 'v1',
    workloadType: 'deployment',
    workloadName: name,
    nativeTunnel: false,
    services: [],
    authorizationPolicies: [],
    healthy: true,
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    hostNetwork: false,
    capacity: 1,
    ...changes,
  };
}

export async function giveCertificate(mesh: Mesh, ca: TestCa, serviceAccount: string): Promise<void> {
  const uri = spiffeUri({ trustDomain: 'cluster.local', namespace: 'default', serviceAccount });
  mesh.certificates.put(await ca.issue(uri));
}

const EMPTY_MATCH: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};

/** A policy of the namespace; it matches everything unless a match is given. */
export function toyPolicy(name: string, action: Policy['action'], match?: Partial<Match>): Policy {
  return {
    key: `default/${name}`,
    namespace: 'default',
    scope: 'namespace',
    action,
    dryRun: false,
    rules: [{ clauses: match === undefined ? [] : [{ matches: [{ ...EMPTY_MATCH, ...match }] }] }],
  };
}

/** A pod of which everything is on this machine's loopback. */
export class LoopbackPod implements PodSockets {
  readonly truePeers: HostPort[] = [];
  dialled = 0;

  dialRemote(target: HostPort): Socket {
    this.dialled += 1;
    return net.connect({ host: target.ip, port: target.port, allowHalfOpen: true });
  }

  dialApplication(target: HostPort, truePeer: HostPort): Socket {
    this.truePeers.push(truePeer);
    return this.dialRemote(target);
  }

  originalDst(): HostPort | undefined {
    return undefined;
  }

  close(): void {
    // Nothing is held.
  }
}

/** Two network namespaces joined by a veth pair; `pods` of a test without any redirection. */
export class ToyNetwork {
  readonly a: ToyPodNet;
  readonly b: ToyPodNet;

  constructor(prefix: string) {
    const [a, b] = [`${prefix}-a`, `${prefix}-b`];
    this.#names = [a, b];
    for (const name of this.#names) {
      // Of a run that was killed.
      if (existsSync(`/run/netns/${name}`)) ip('netns', 'del', name);
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    ip('-n', a, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', b);
    this.a = new ToyPodNet(a, '198.18.250.1');
    this.b = new ToyPodNet(b, '198.18.250.2');
  }

  readonly #names: readonly string[];

  remove(): void {
    this.a.close();
    this.b.close();
    for (const name of this.#names) ip('netns', 'del', name);
  }
}

/** One end of it, with sockets as the kernel's redirection would have them, but for marks. */
export class ToyPodNet implements PodSockets {
  readonly name: string;
  readonly ip: string;
  readonly netnsFd: number;
  /** Where the next redirected connection wanted to go. */
  wanted: HostPort | undefined;
  /** The true peers that were announced, newest last. */
  readonly truePeers: HostPort[] = [];
  readonly #sources = new InternalSources();

  constructor(name: string, address: string) {
    this.name = name;
    this.ip = address;
    ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', name, 'link', 'set', 'eth0', 'up');
    this.netnsFd = openNetns(`/run/netns/${name}`);
  }

  /** A server at the pod's own address. Port 0: any, see `server.address()`. */
  async listen(port: number, serve: (socket: Socket) => void, pauseOnConnect: boolean): Promise<net.Server> {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect }, serve);
    const fd = tcpSocket(this.netnsFd);
    bindTo(fd, this.ip, port);
    server.listen({ fd });
    await once(server, 'listening');
    return server;
  }

  dialRemote(target: HostPort): Socket {
    return adoptUnconnected(tcpSocket(this.netnsFd)).connect({ host: target.ip, port: target.port });
  }

  dialApplication(target: HostPort, truePeer: HostPort): Socket {
    this.truePeers.push(truePeer);
    const fd = tcpSocket(this.netnsFd);
    bindTo(fd, this.#sources.next(4), 0);
    return adoptUnconnected(fd).connect({ host: target.ip, port: target.port });
  }

  originalDst(): HostPort | undefined {
    return this.wanted;
  }

  close(): void {
    closeFd(this.netnsFd);
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
