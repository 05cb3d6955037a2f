import { create, type MessageInitShape } from '@bufbuild/protobuf';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { CertificateStore, type Certificate } from '../../../../lib/mesh/hbone/certificate-store.ts';
import { connectSession, HboneTunnel } from '../../../../lib/mesh/hbone/hbone-tunnel.ts';
import type { CertificateBundle } from '../../../../lib/mesh/identity/certificate-bundle.ts';
import { Relay } from '../../../../lib/mesh/hbone/relay.ts';
import type { Service, Workload } from '../../../../lib/mesh/state/model.ts';
import { spiffeUri } from '../../../../lib/spiffe.ts';
import { Protocol, ResourceSchema } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { HTTP_LIMITS, type HttpLimits } from '../../../../waypoint/http/limits.ts';
import { SharedBuckets } from '../../../../waypoint/resilience/shared-buckets.ts';
import { createWaypointWorker, type WaypointWorker } from '../../../../waypoint/worker/waypoint-worker.ts';
import type { FromWorker, WorkerStart } from '../../../../waypoint/worker/messages.ts';
import { TestCa } from '../../ztunnel/support/certificates.ts';
import { closedPort } from '../../ztunnel/support/toy-waypoint.ts';
import { toyWorkload } from '../../ztunnel/support/toy-mesh.ts';
import { ToyPod } from './toy-pod.ts';

const GATEWAY = { namespace: 'shop', name: 'waypoint' };
const OUR_OWN_IP = '127.0.0.1';
/** Tests of several processes may run at a time, and each pod's tunnel has one port only. */
const POD_NETWORK = `127.${64 + (process.pid % 128)}.${(process.pid >> 7) % 256}`;
let nextPod = 1;

export type ResourceKind = MessageInitShape<typeof ResourceSchema>['kind'];

type Bounds = Pick<WorkerStart, 'maxTunnels' | 'maxConnections' | 'memoryLimit'>;

export interface OwnService {
  readonly name: string;
  readonly protocol: Protocol;
  /** Port of the application, on {@link OwnWaypoint.podIp} where `via` is `hbone`, else on 127.0.0.1. */
  readonly targetPort: number;
  readonly via?: 'hbone' | 'direct';
  readonly trafficPolicy?: string;
}

/**
 * One worker of a waypoint in this process, with certificates of a test's CA, one pod with a tunnel behind it, and one
 * client before it. What it is configured with is what a controller would send.
 */
export class OwnWaypoint {
  readonly worker: WaypointWorker;
  /** Where applications listen that are reached by HBONE. */
  readonly podIp: string;
  readonly pod: ToyPod;
  readonly messages: readonly FromWorker[];
  /** Who signs for everybody here. */
  readonly ca: TestCa;
  /** Where the waypoint takes HBONE, on 127.0.0.1. */
  readonly port: number;
  readonly #certificate: Certificate;
  readonly #vips = new Map<string, string>();
  readonly #tunnels = new Set<HboneTunnel>();
  readonly #sessions = new Set<http2.ClientHttp2Session>();
  readonly #fronts = new Set<net.Server>();

  private constructor(parts: {
    worker: WaypointWorker;
    podIp: string;
    pod: ToyPod;
    messages: readonly FromWorker[];
    ca: TestCa;
    port: number;
    certificate: Certificate;
  }) {
    this.worker = parts.worker;
    this.podIp = parts.podIp;
    this.pod = parts.pod;
    this.messages = parts.messages;
    this.ca = parts.ca;
    this.port = parts.port;
    this.#certificate = parts.certificate;
  }

  static async start(limits: Partial<HttpLimits> = {}, bounds: Partial<Bounds> = {}): Promise<OwnWaypoint> {
    const ca = await TestCa.create();
    const port = await closedPort();
    const podIp = `${POD_NETWORK}.${nextPod++}`;
    const pod = await ToyPod.start(podIp, await ca.issue(sa('default', 'app')));
    const messages: FromWorker[] = [];
    const listening = Promise.withResolvers<void>();
    const worker = createWaypointWorker(
      {
        gateway: GATEWAY,
        node: 'node-a',
        clusterId: 'Kubernetes',
        network: '',
        trustDomain: 'cluster.local',
        listen: { host: OUR_OWN_IP, port },
        logLevel: 'info',
        maxTunnels: 100,
        maxConnections: 1_000,
        memoryLimit: 0,
        ...bounds,
        sessionKey: new Uint8Array(32),
        buckets: SharedBuckets.allocate(),
      },
      (message) => {
        messages.push(message);
        if (message.type === 'listening') listening.resolve();
      },
      { ...HTTP_LIMITS, ...limits },
    );
    worker.certificates.put(await ca.issue(sa(GATEWAY.namespace, GATEWAY.name)));
    const client = new CertificateStore();
    client.put(await ca.issue(sa('default', 'client')));
    const certificate = await client.whenValid(sa('default', 'client'), 0);
    worker.firstState.setComplete();
    await listening.promise;
    return new OwnWaypoint({ worker, podIp, pod, messages, ca, port, certificate });
  }

  /** Puts a Service of one endpoint behind the waypoint, at port 80. */
  serve({ name, protocol, targetPort, via = 'hbone', trafficPolicy = '' }: OwnService): void {
    const hostname = `${name}.default.svc.cluster.local`;
    const key = `default/${hostname}`;
    const vip = this.#vips.get(name) ?? `198.18.77.${this.#vips.size + 1}`;
    this.#vips.set(name, vip);
    const ports = [{ servicePort: 80, targetPort, appProtocol: 'unknown' as const }];
    const service: Service = {
      kind: 'service',
      key,
      name,
      namespace: 'default',
      hostname,
      addresses: [{ network: '', ip: vip }],
      ports,
      subjectAltNames: [],
      waypoint: {
        by: 'hostname',
        service: `shop/waypoint.shop.svc.cluster.local`,
        hboneMtlsPort: 15008,
      },
      ipFamilies: 'automatic',
      weightedWaypoints: [],
      loadBalancing: { routingPreference: [], mode: 'unspecified', allowUnhealthy: false },
      canonical: true,
      visibility: 'public',
    };
    const workload: Workload = toyWorkload(`${name}-1`, via === 'hbone' ? this.podIp : OUR_OWN_IP, {
      identity: { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: 'app' },
      tunnelProtocol: via === 'hbone' ? 'hbone' : 'none',
      services: [{ service: key, ports }],
    });
    this.worker.applyAddresses({ upserts: [service, workload], removed: [] });
    this.configure({
      [`service/${key}`]: {
        case: 'service',
        value: {
          key,
          name,
          namespace: 'default',
          served: true,
          ports: [{ port: 80, protocol }],
          trafficPolicy,
        },
      },
    });
  }

  configure(resources: Readonly<Record<string, ResourceKind>>): void {
    const upserts = Object.entries(resources).map(([name, kind]) => ({
      name,
      resource: create(ResourceSchema, kind === undefined ? {} : { kind }),
    }));
    this.worker.config.apply({ upserts, removed: [] });
  }

  /** The certificate of a client of namespace default. */
  client(serviceAccount: string): Promise<CertificateBundle> {
    return this.ca.issue(sa('default', serviceAccount));
  }

  /** The address and port of a Service, as a CONNECT names it. */
  addressOf(service: string): string {
    return `${this.#vips.get(service)}:80`;
  }

  /** HBONE connections open now. */
  get tunnels(): number {
    return this.worker.status().tunnelsIn;
  }

  /** Why tunnels and connections were refused so far, with how often: by the reasons of two counters. */
  counted(): Record<string, number> {
    this.worker.answer('flush');
    const counts: Record<string, number> = {};
    for (const message of this.messages) {
      if (message.type !== 'telemetry') continue;
      for (const { metric, labels, value } of message.batch.metrics.runtime.counters) {
        const [reason = ''] = labels;
        if (metric === 'refusedTunnels' || metric === 'protocolErrors')
          counts[reason] = (counts[reason] ?? 0) + value;
      }
    }
    return counts;
  }

  /** One client's connection to a Service: raw bytes both ways. */
  async connect(service: string): Promise<http2.ClientHttp2Stream> {
    const stream = await (await this.#tunnel()).open({ ':authority': this.addressOf(service) });
    stream.on('error', () => undefined);
    return stream;
  }

  /** An HTTP/2 client over a connection of its own. */
  async http2(service: string, options: http2.ClientSessionOptions = {}): Promise<http2.ClientHttp2Session> {
    const connection = await this.connect(service);
    const session = http2.connect(`http://${service}`, { ...options, createConnection: () => connection });
    session.on('error', () => undefined);
    this.#sessions.add(session);
    return session;
  }

  /** A TCP port of 127.0.0.1 whose connections are carried to a Service, for clients that know nothing of the mesh. */
  async front(service: string): Promise<number> {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      socket.on('error', () => undefined);
      this.connect(service).then(
        (stream) => new Relay(socket, stream),
        () => socket.resetAndDestroy(),
      );
    });
    this.#fronts.add(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const front of this.#fronts) front.close();
    for (const session of this.#sessions) session.destroy();
    for (const tunnel of this.#tunnels) tunnel.destroy();
    await this.worker.drain(0);
    this.pod.close();
  }

  async #tunnel(): Promise<HboneTunnel> {
    for (const tunnel of this.#tunnels) {
      if (!tunnel.hasRoom) continue;
      tunnel.reserve();
      return tunnel;
    }
    const session = await connectSession(
      { dialRemote: ({ ip, port }) => net.connect({ host: ip, port, allowHalfOpen: true, noDelay: true }) },
      { address: { ip: OUR_OWN_IP, port: this.port }, expectedIdentities: [sa('shop', 'waypoint')] },
      this.#certificate,
    );
    const tunnel = new HboneTunnel(session, this.#certificate.bundle.notAfter, (gone) =>
      this.#tunnels.delete(gone),
    );
    this.#tunnels.add(tunnel);
    tunnel.reserve();
    return tunnel;
  }
}

function sa(namespace: string, serviceAccount: string): string {
  return spiffeUri({ trustDomain: 'cluster.local', namespace, serviceAccount });
}
