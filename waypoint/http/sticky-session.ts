import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import type {
  Backend,
  RouteRule,
  SessionPersistence as Settings,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { SessionPersistence, type Session } from '../resilience/session-persistence.ts';
import type { Headers, RequestHead } from '../../lib/mesh/waypoint/request.ts';

interface Made {
  readonly key: Uint8Array;
  /** By the Service that sessions are bound to: several may share the settings of one route or policy. */
  readonly byService: Map<string, SessionPersistence>;
}

const made = new WeakMap<Settings, Made>();

/** The session of one request: where it was before, and what the client is told. */
export class StickySession {
  readonly #persistence: SessionPersistence;
  readonly #session: Session | undefined;
  readonly #workloads: WorkloadStore;

  private constructor(
    persistence: SessionPersistence,
    session: Session | undefined,
    workloads: WorkloadStore,
  ) {
    this.#persistence = persistence;
    this.#session = session;
    this.#workloads = workloads;
  }

  /** @param service key that sessions are bound to: the one that the client dialled */
  static of(
    settings: Settings,
    service: string,
    head: RequestHead,
    workloads: WorkloadStore,
    key: Uint8Array,
  ): StickySession {
    let known = made.get(settings);
    if (known?.key !== key) made.set(settings, (known = { key, byService: new Map() }));
    let persistence = known.byService.get(service);
    if (persistence === undefined)
      known.byService.set(service, (persistence = new SessionPersistence(settings, service, key)));
    return new StickySession(persistence, persistence.read(head), workloads);
  }

  /** The endpoint that the client was sent to before. */
  get uid(): string | undefined {
    return this.#session?.uid;
  }

  /** Of a route's backends, the one that this endpoint belongs to. */
  preferredService(backends: readonly Backend[]): string | undefined {
    if (this.#session === undefined) return undefined;
    const workload = this.#workloads.byUid(this.#session.uid);
    if (workload === undefined) return undefined;
    const services = new Set(workload.services.map(({ service }) => service));
    return backends.find(({ service }) => services.has(service))?.service;
  }

  /** Writes to a response what the client shall bring back. */
  write(headers: Headers, uid: string): void {
    const issued = this.#persistence.issue(uid, this.#session);
    if (issued === undefined) return;
    if (issued.name !== 'set-cookie') {
      headers[issued.name] = issued.value;
      return;
    }
    const others = headers['set-cookie'];
    headers['set-cookie'] = [...(typeof others === 'string' ? [others] : (others ?? [])), issued.value];
  }
}

/** Whose sessions a request keeps: the rule's own settings before the policy's. */
export function sessionSettings(
  rule: RouteRule | undefined,
  policy: Settings | undefined,
): Settings | undefined {
  return rule?.sessionPersistence ?? policy;
}
