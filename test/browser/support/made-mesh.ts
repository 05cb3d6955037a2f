import {
  EMPTY_CATALOG,
  type Catalog,
  type CatalogPod,
  type CatalogService,
} from '../../../lib/flow/catalog.ts';
import { EdgeCounts } from '../../../lib/flow/edge-counts.ts';
import type { FlowEvent, FlowWindow, Party } from '../../../lib/flow/event.ts';
import type { FlowProducer } from '../../../cli/observe/feed.ts';

/** A made-up mesh of any size, which tells flows as a real one does. */
export interface MadeMesh {
  readonly catalog: Catalog;
  readonly producers: readonly FlowProducer[];
}

interface App {
  readonly namespace: string;
  readonly name: string;
}

interface Call {
  readonly from: App;
  readonly to: App;
  readonly perSecond: number;
  readonly ms: number;
  readonly failing: number;
  readonly denied: boolean;
  readonly requests: boolean;
}

/** Always the same numbers between 0 and 1 (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Makes a mesh: namespaces of 25 Services in four tiers, each of which calls two or three of the next, and now and then one of
 * another namespace.
 *
 * @param services how many
 */
export function madeMesh(services: number, seed = 7): MadeMesh {
  const random = numbers(seed);
  const apps = Array.from({ length: services }, (_, n): App => ({
    namespace: `team-${String(Math.floor(n / 25) + 1).padStart(2, '0')}`,
    name: `service-${String(n + 1).padStart(3, '0')}`,
  }));
  const calls = apps.flatMap((from, n): Call[] => {
    const [place, begin] = [n % 25, n - (n % 25)];
    const tier = Math.floor(place / 7);
    const next = apps.slice(begin + (tier + 1) * 7, begin + Math.min(25, (tier + 2) * 7));
    const chosen = next.filter(() => random() < 0.36).slice(0, 3);
    if (random() < 0.12) {
      const other = apps[Math.floor(random() * apps.length)];
      if (other !== undefined && other !== from) chosen.push(other);
    }
    return chosen.map((to) => ({
      ...{ from, to },
      perSecond: Math.ceil(random() ** 3 * 120),
      ms: 2 + random() ** 2 * 180,
      failing: random() < 0.06 ? random() * 0.2 : 0,
      denied: random() < 0.02,
      requests: random() < 0.6,
    }));
  });
  return { catalog: catalogOf(apps), producers: [producer(calls, random)] };
}

function catalogOf(apps: readonly App[]): Catalog {
  const pods = apps.map(({ namespace, name }, n): CatalogPod => ({
    ...{ namespace, name: `${name}-1`, node: `node-${n % 2 === 0 ? 'a' : 'b'}`, account: name, app: name },
    ...{ ips: [`198.18.${n >> 8}.${n & 255}`], ready: true, enrolled: true },
  }));
  const services = apps.map(({ namespace, name }): CatalogService => ({
    namespace,
    name,
    ports: ['80 http'],
    pods: [`${namespace}/${name}-1`],
  }));
  return { ...EMPTY_CATALOG, mesh: 'made-up', pods, services };
}

function partyOf({ namespace, name }: App): Party {
  const identity = `spiffe://cluster.local/ns/${namespace}/sa/${name}`;
  return { workload: `${name}-1`, namespace, app: name, account: name, identity };
}

function producer(calls: readonly Call[], random: () => number): FlowProducer {
  return {
    name: 'ztunnel node-a',
    follow: (_events, signal, onValue) =>
      new Promise((resolve) => {
        onValue({ kind: 'hello', at: Date.now(), schema: 1, program: 'ztunnel', node: 'node-a' });
        const tell = (): void => {
          onValue(windowOf(calls, random));
          for (const call of calls.slice(0, 20)) onValue(eventOf(call, random));
        };
        tell();
        const timer = setInterval(tell, 1_000);
        signal.addEventListener('abort', () => {
          clearInterval(timer);
          resolve();
        });
      }),
  };
}

function windowOf(calls: readonly Call[], random: () => number): FlowWindow {
  const edges = calls.map((call) => {
    const counts = new EdgeCounts(call.requests ? 'request' : 'connection', factsOf(call));
    const ended = Math.max(0, Math.round(call.perSecond * (0.8 + random() * 0.4)));
    counts.ended = ended;
    counts.up = ended * 400;
    counts.down = ended * 2_000;
    if (call.denied) counts.denied.add(`${call.to.namespace}/callers`, ended);
    else {
      counts.failed = Math.round(ended * call.failing);
      counts.allowed.add(`${call.to.namespace}/callers`, ended);
      for (let n = 0; n < Math.min(ended, 12); n += 1)
        counts.durations.add(call.ms * (0.5 + random() ** 3 * 4));
      if (call.requests) {
        counts.codes.add('200', ended - counts.failed);
        if (counts.failed > 0) counts.codes.add('503', counts.failed);
      }
    }
    return counts.toWindow();
  });
  return { kind: 'window', at: Date.now(), ms: 1_000, edges, overflow: 0 };
}

function factsOf(call: Call): EdgeCounts['facts'] {
  return {
    side: call.requests ? 'waypoint' : 'destination',
    source: partyOf(call.from),
    destination: { ...partyOf(call.to), port: 80 },
    service: `${call.to.namespace}/${call.to.name}`,
    mtls: true,
  };
}

function eventOf(call: Call, random: () => number): FlowEvent {
  const failed = random() < call.failing;
  const policy = `${call.to.namespace}/callers`;
  return {
    kind: 'request',
    at: Date.now(),
    ...factsOf(call),
    protocol: 'http1',
    method: 'GET',
    authority: call.to.name,
    path: '/items',
    status: call.denied ? 403 : failed ? 503 : 200,
    durationMs: call.ms * (0.5 + random()),
    ...{ up: 400, down: 2_000, attempts: 1, requestId: 'made-up' },
    verdict: { allowed: !call.denied, policy },
  };
}
