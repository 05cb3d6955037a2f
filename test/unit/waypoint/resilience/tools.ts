import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  TrafficPolicySchema,
  type TrafficPolicy,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Clock } from '../../../../lib/mesh/identity/clock.ts';
import type { Headers, RequestHead } from '../../../../lib/mesh/waypoint/request.ts';
import type { Endpoint } from '../../../../waypoint/resilience/endpoint.ts';

/** A clock that stands until it is told to go; its timers fire in order as it goes. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ at: number; run: () => void }>();

  readonly now = (): number => this.#now;

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = due.at;
      due.run();
    }
    this.#now = end;
  }

  get timers(): number {
    return this.#timers.size;
  }
}

/** Mulberry32: the same numbers for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function policy(init: MessageInitShape<typeof TrafficPolicySchema>): TrafficPolicy {
  return create(TrafficPolicySchema, init);
}

export function endpoint(uid: string, more: Partial<Endpoint> = {}): Endpoint {
  return { uid, address: '198.18.0.1', port: 8080, weight: 1, rank: 0, healthy: true, ...more };
}

export function endpoints(count: number, more: Partial<Endpoint> = {}): Endpoint[] {
  return Array.from({ length: count }, (_, i) => endpoint(`pod-${i}`, more));
}

export function head(headers: Record<string, string> = {}, more: Partial<RequestHead> = {}): RequestHead {
  return {
    method: 'GET',
    authority: 'payments',
    path: '/',
    query: '',
    protocol: 'http1',
    headers: Object.assign(Object.create(null) as Headers, headers),
    source: { ip: '198.18.0.9', port: 40_000, identity: undefined, workload: undefined },
    service: 'shop/payments',
    port: 80,
    destinationIp: '198.18.1.1',
    remoteIp: '198.18.0.9',
    jwt: undefined,
    ...more,
  };
}

/** How often each value occurs. */
export function tally<T>(values: Iterable<T>): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}
