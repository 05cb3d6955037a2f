import { canonicalIp } from '../../lib/mesh/state/ip.ts';
import type { FlowEvent, Party } from '../../lib/flow/event.ts';
import type { Connection } from '../look/connections.ts';
import type { Target } from '../mesh/find.ts';
import type { MeshInventory, MeshPod, MeshService } from '../mesh/reader.ts';
import type { NodeState } from '../mesh/stores.ts';
import type { Question } from '../why/explain.ts';

/** Kinds of calls that one preview compares. */
const MAX_FLOWS = 5_000;

/** Calls that are alike: from one pod to one place, with the same request. */
export interface SeenFlow {
  readonly question: Question;
  /** The pod that answered, `namespace/name`, where one did. */
  readonly endpoint?: string;
  readonly times: number;
}

/** Sums up what was seen. Callers outside of the mesh are left out: nobody knows what they are. */
export class SeenFlows {
  readonly #inventory: MeshInventory;
  readonly #state: NodeState | undefined;
  readonly #flows = new Map<string, { question: Question; endpoint: string | undefined; times: number }>();
  #leftOut = 0;

  /** @param state of any node: says which port of a Service leads to which of a pod */
  constructor(inventory: MeshInventory, state: NodeState | undefined) {
    this.#inventory = inventory;
    this.#state = state;
  }

  /** How many were not of a pod of the mesh, or too many kinds. */
  get leftOut(): number {
    return this.#leftOut;
  }

  get all(): SeenFlow[] {
    return [...this.#flows.values()].map(({ question, endpoint, times }) => ({
      ...{ question, times },
      ...(endpoint !== undefined && { endpoint }),
    }));
  }

  addEvent(event: FlowEvent): void {
    const { source, destination, service } = event;
    const request =
      event.kind === 'request'
        ? { method: event.method, path: event.path, host: event.authority }
        : undefined;
    this.#add(source, destination, service, request);
  }

  addConnection({ source, destination }: Connection): void {
    const service = destination.service?.split('.');
    // What goes through a tunnel is connected to its other end, and goes to what it asked for there.
    const dialled = destination.hboneAddress ?? destination.address;
    const port = Number(/:(\d+)$/.exec(dialled)?.[1]);
    const ip = dialled.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
    this.#add(
      source,
      { ...destination, ip, port },
      service && `${service[1] ?? ''}/${service[0] ?? ''}`,
      undefined,
    );
  }

  #add(
    source: Pick<Party, 'namespace' | 'workload'>,
    destination: Party,
    serviceName: string | undefined,
    request: Question['request'],
  ): void {
    const from = this.#pod(source);
    const to = this.#target(destination, serviceName, request?.host);
    if (from === undefined || to === undefined) {
      this.#leftOut += 1;
      return;
    }
    const endpoint = this.#pod(destination);
    const name = endpoint && `${endpoint.namespace}/${endpoint.name}`;
    const key = JSON.stringify([
      from.uid,
      to.port,
      targetKey(to.target),
      name,
      request?.method,
      request?.path,
    ]);
    const known = this.#flows.get(key);
    if (known !== undefined) known.times += 1;
    else if (this.#flows.size >= MAX_FLOWS) this.#leftOut += 1;
    else
      this.#flows.set(key, {
        question: { source: from, ...to, ...(request && { request }) },
        endpoint: name,
        times: 1,
      });
  }

  #pod({ namespace, workload }: Pick<Party, 'namespace' | 'workload'>): MeshPod | undefined {
    if (workload === undefined) return undefined;
    return this.#inventory.pods.find((pod) => pod.namespace === namespace && pod.name === workload);
  }

  #target(
    destination: Party,
    serviceName: string | undefined,
    host: string | undefined,
  ): { target: Target; port: number } | undefined {
    const service = this.#inventory.services.find(
      ({ namespace, name }) => `${namespace}/${name}` === serviceName,
    );
    const { port } = destination;
    if (service !== undefined) {
      const dialled = this.#servicePort(service, destination, host);
      if (dialled !== undefined) return { target: { kind: 'service', service }, port: dialled };
    }
    if (port === undefined) return undefined;
    const pod = this.#pod(destination);
    if (pod !== undefined) return { target: { kind: 'pod', pod }, port };
    const ip = destination.ip === undefined ? undefined : canonicalIp(destination.ip);
    return ip === undefined ? undefined : { target: { kind: 'address', ip }, port };
  }

  /** The port that was dialled, of which flows tell only where it leads to. */
  #servicePort(service: MeshService, destination: Party, host: string | undefined): number | undefined {
    const ports = service.ports.map(({ port }) => port);
    const [only] = ports;
    if (ports.length === 1) return only;
    const inHost = Number(/:(\d+)$/.exec(host ?? '')?.[1] ?? NaN);
    if (ports.includes(inHost)) return inHost;
    const led = service.ports.find(({ targetPort }) => targetPort === destination.port);
    if (led !== undefined) return led.port;
    const known = [...(this.#state?.workloads.services() ?? [])].find(
      ({ namespace, name }) => namespace === service.namespace && name === service.name,
    );
    const found =
      known?.ports.find(({ targetPort }) => targetPort === destination.port) ??
      known?.ports.find(({ servicePort }) => servicePort === destination.port);
    return found?.servicePort;
  }
}

function targetKey(target: Target): string {
  switch (target.kind) {
    case 'pod':
      return target.pod.uid;
    case 'service':
      return `${target.service.namespace}/${target.service.name}`;
    case 'address':
      return target.ip;
  }
}
