/** A small mesh that changes at random, for the tests that hold what is compiled by part against what is compiled as a whole. */
import type { MeshInput } from '../../../../controller/compile/incremental.ts';
import { type KubeObject, objectKey, refOf } from '../../../../controller/model/objects.ts';
import type { ResolvedName } from '../../../../controller/names/resolver.ts';
import type { Assignments, PodAssignment } from '../../../../controller/sources/assignments.ts';

const ROOT = 'loam-system';
const NAMESPACES = ['a', 'b', ROOT];
const NODES = ['n1', 'n2', 'n3'];
const APPS = ['x', 'y', 'z'];
const HOSTS = ['one.example', 'two.example', 'three.example'];
const USE_WAYPOINT = 'loam.dev/use-waypoint';

/** Numbers from a seed (xorshift32), so that what fails can be had again. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  chance(share: number): boolean {
    return this.below(1_000) < share * 1_000;
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

/** Objects and places; each step changes some of them, mostly pods. */
export class RandomMesh {
  readonly #random: Random;
  #objects = new Map<string, KubeObject>();
  #pods: Record<string, PodAssignment> = {};
  #gateways: NonNullable<Assignments['gateways']> = {};
  #names: ReadonlyMap<string, ResolvedName> = new Map();

  constructor(random: Random) {
    this.#random = random;
    for (const name of NAMESPACES) this.#namespace(name);
    for (let i = 0; i < 8; i += 1) this.#pod();
    for (let i = 0; i < 12; i += 1) this.#service();
    for (let i = 0; i < 6; i += 1) this.#slice();
    for (let i = 0; i < 2; i += 1) this.#entry();
    this.#resolve();
  }

  /** What a compiler is given now. */
  get input(): MeshInput {
    const sorted = [...this.#objects].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      objects: new Map(sorted.map(([key, object]) => [key, { object }])),
      assignments: { pods: { ...this.#pods }, services: {}, gateways: this.#gateways },
      clusterId: 'Kubernetes',
      trustDomain: 'cluster.local',
      rootNamespace: ROOT,
      names: this.#names,
    };
  }

  step(): void {
    const changes = this.#random.chance(0.2) ? 3 : 1;
    for (let i = 0; i < changes; i += 1) {
      if (this.#random.chance(0.85)) this.#changePods();
      else this.#changeOther();
    }
  }

  #changePods(): void {
    const random = this.#random;
    const pods = Object.keys(this.#pods);
    const some = pods.length === 0 ? undefined : random.of(pods);
    const assigned = some === undefined ? undefined : this.#pods[some];
    const dice = random.below(100);
    if (some === undefined || assigned === undefined || dice < 30) this.#pod();
    else if (dice < 45) this.#removePod(some);
    else if (dice < 75) this.#pods[some] = { ...assigned, ready: assigned.ready !== true };
    else if (dice < 85) delete this.#pods[some];
    else this.#pods[some] = this.#place();
  }

  #changeOther(): void {
    const random = this.#random;
    const makers = [
      () => this.#namespace(random.of(NAMESPACES)),
      () => this.#service(),
      () => this.#service(),
      () => this.#policy(),
      () => this.#peerAuthentication(),
      () => this.#egress(),
      () => this.#telemetry(),
      () => this.#gateway(),
      () => this.#node(),
      () => this.#slice(),
      () => this.#slice(),
      () => this.#entry(),
      () => this.#resolve(),
    ];
    if (random.chance(0.5)) random.of(makers)();
    else this.#removeOther();
  }

  #put(object: object): void {
    const made = object as KubeObject;
    this.#objects.set(objectKey(refOf(made)), made);
  }

  #removePod(key: string): void {
    this.#objects.delete(`Pod/${key}`);
    delete this.#pods[key];
  }

  #removeOther(): void {
    const others = [...this.#objects.values()].filter(({ kind }) => kind !== 'Pod' && kind !== 'Namespace');
    if (others.length === 0) return;
    const key = objectKey(refOf(this.#random.of(others)));
    this.#objects.delete(key);
    this.#gateways = Object.fromEntries(
      Object.entries(this.#gateways).filter(([name]) => `Gateway/${name}` !== key),
    );
  }

  #namespace(name: string): void {
    const random = this.#random;
    const labels = {
      ...(random.chance(0.8) && { 'loam.dev/dataplane-mode': 'ambient' }),
      ...(random.chance(0.1) && { [USE_WAYPOINT]: 'w' }),
      ...(random.chance(0.1) && { 'loam.dev/outbound-traffic-policy': 'registry-only' }),
    };
    this.#put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  }

  #place(): PodAssignment {
    const random = this.#random;
    // Few addresses, so that now and then two want one.
    const ips = [`10.0.0.${random.below(200)}`];
    return { ips, node: random.of(NODES), ready: random.chance(0.7) };
  }

  #pod(): void {
    const random = this.#random;
    const namespace = random.of(NAMESPACES);
    const name = `p${random.below(10)}`;
    this.#put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        namespace,
        name,
        labels: {
          app: random.of(APPS),
          ...(random.chance(0.3) && { tier: 'front' }),
          ...(random.chance(0.1) && { 'loam.dev/dataplane-mode': 'none' }),
          ...(random.chance(0.05) && { [USE_WAYPOINT]: 'w' }),
        },
      },
      spec: {
        serviceAccountName: random.of(['default', 'one', 'w']),
        nodeName: random.of(NODES),
        containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 + random.below(2) }] }],
        ...(random.chance(0.1) && { hostNetwork: true }),
      },
      ...(random.chance(0.1) && { status: { phase: 'Succeeded' } }),
    });
    const key = `${namespace}/${name}`;
    if (random.chance(0.8)) this.#pods[key] = this.#place();
    else delete this.#pods[key];
  }

  #service(): void {
    const random = this.#random;
    const n = random.below(6);
    const namespace = random.of(NAMESPACES);
    this.#put({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        namespace,
        name: `s${n}`,
        labels: { ...(random.chance(0.08) && { [USE_WAYPOINT]: random.of(['w', 'none', 'missing']) }) },
      },
      spec: {
        clusterIP: random.chance(0.2)
          ? 'None'
          : `10.1.${NAMESPACES.indexOf(namespace)}.${n + 1}${random.below(3)}`,
        selector: { app: random.of(APPS), ...(random.chance(0.2) && { tier: 'front' }) },
        ports: [{ name: 'http', port: 80, targetPort: random.chance(0.5) ? 'http' : 8080 }],
      },
    });
  }

  #policy(): void {
    const random = this.#random;
    const to = random.below(3);
    this.#put({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { namespace: random.of(NAMESPACES), name: `q${random.below(3)}` },
      spec: {
        action: random.of(['ALLOW', 'DENY']),
        ...(to === 0 && { selector: { matchLabels: { app: random.of(APPS) } } }),
        ...(to === 1 && { targetRefs: [{ kind: 'Service', name: `s${random.below(6)}` }] }),
        rules: [{ from: [{ source: { namespaces: [random.of(NAMESPACES)] } }] }],
      },
    });
  }

  #peerAuthentication(): void {
    const random = this.#random;
    this.#put({
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { namespace: random.of(NAMESPACES), name: `r${random.below(2)}` },
      spec: {
        mtls: { mode: random.of(['STRICT', 'PERMISSIVE']) },
        ...(random.chance(0.6) && { selector: { matchLabels: { app: random.of(APPS) } } }),
        ...(random.chance(0.3) && { portLevelMtls: { 8080: { mode: random.of(['STRICT', 'PERMISSIVE']) } } }),
      },
    });
  }

  #egress(): void {
    const random = this.#random;
    this.#put({
      apiVersion: 'loam.dev/v1',
      kind: 'EgressPolicy',
      metadata: { namespace: random.of(NAMESPACES), name: `e${random.below(2)}` },
      spec: { selector: { matchLabels: { app: random.of(APPS) } }, allow: [{ namespaces: ['a'] }] },
    });
  }

  #telemetry(): void {
    const random = this.#random;
    this.#put({
      apiVersion: 'telemetry.istio.io/v1',
      kind: 'Telemetry',
      metadata: { namespace: random.of(NAMESPACES), name: `t${random.below(2)}` },
      spec: {
        accessLogging: [{ disabled: random.chance(0.5) }],
        ...(random.chance(0.3) && { selector: { matchLabels: { app: random.of(APPS) } } }),
      },
    });
  }

  #node(): void {
    const random = this.#random;
    const name = random.of(NODES);
    const labels = { ...(random.chance(0.7) && { 'topology.kubernetes.io/zone': random.of(['z1', 'z2']) }) };
    const addresses = [{ type: 'InternalIP', address: `10.0.0.${random.below(200)}` }];
    this.#put({ apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, status: { addresses } });
  }

  #slice(): void {
    const random = this.#random;
    const labels = { 'kubernetes.io/service-name': `s${random.below(6)}` };
    const metadata = { namespace: random.of(NAMESPACES), name: `t${random.below(3)}`, labels };
    const places = Object.values(this.#pods);
    const address = (): string =>
      (random.chance(0.6) && places.length > 0 ? random.of(places).ips[0] : undefined) ??
      `10.0.0.${random.below(200)}`;
    const endpoints = [1, 2].map(() => ({
      addresses: [address()],
      ...(random.chance(0.3) && { targetRef: { kind: 'Pod', namespace: 'a', name: `p${random.below(10)}` } }),
    }));
    const ports = [{ name: 'http', port: 8080 }];
    this.#put({
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
      ...{ metadata, endpoints, ports },
    });
  }

  /** Of a pod now and then: who answers for a name says what he likes. */
  #address(): string {
    const places = Object.values(this.#pods);
    const ofPod = this.#random.chance(0.3) && places.length > 0 ? this.#random.of(places).ips[0] : undefined;
    return ofPod ?? `10.0.0.${this.#random.below(200)}`;
  }

  #resolve(): void {
    this.#names = new Map(
      HOSTS.map((host) => {
        const now = [this.#address(), this.#address()];
        return [host, { now, lately: [...now, this.#address()] }];
      }),
    );
  }

  #entry(): void {
    const random = this.#random;
    const namespace = random.of(NAMESPACES);
    const n = random.below(2);
    const spec = random.of([
      { resolution: 'DNS' },
      { resolution: 'DNS', addresses: [`10.3.${NAMESPACES.indexOf(namespace)}.${n}`] },
      { resolution: 'STATIC', endpoints: [{ address: this.#address() }] },
      { resolution: 'STATIC', workloadSelector: { labels: { app: random.of(APPS) } } },
    ]);
    this.#put({
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { namespace, name: `v${n}` },
      spec: { hosts: [random.of(HOSTS)], ports: [{ number: 443, name: 'tls' }], ...spec },
    });
  }

  #gateway(): void {
    const random = this.#random;
    const namespace = random.of(NAMESPACES);
    this.#put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { namespace, name: 'w', labels: { 'loam.dev/waypoint-for': random.of(['service', 'all']) } },
      spec: {
        gatewayClassName: 'loam-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    });
    const instance = {
      name: `w-p${random.below(2)}`,
      ips: ['10.2.0.2'],
      node: 'n1',
      ready: random.chance(0.7),
    };
    this.#gateways = {
      ...this.#gateways,
      [`${namespace}/w`]: { clusterIPs: [`10.2.1.${NAMESPACES.indexOf(namespace)}`], instances: [instance] },
    };
  }
}
