import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { RouteSchema, type Route } from '../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Headers, RequestHead } from '../lib/mesh/waypoint/request.ts';
import { RouteTable } from '../lib/mesh/waypoint/routing/route-table.ts';

/**
 * Measures a look-up among 5,000 routes beside one among 5, for the shapes in which routes come in numbers, and how long a
 * table takes to build: at first, and after one of its routes changed. What counts are the ratios.
 *
 *   node bench/route-table.ts
 */
const SERVICE = 'shop/payments.shop.svc.cluster.local';
const MANY = 5000;
const FEW = 5;
const LOOKUPS = 200_000;
const ROUNDS = 9;

interface Shape {
  readonly name: string;
  route(i: number): Exclude<MessageInitShape<typeof RouteSchema>, Route>;
  request(i: number): Partial<RequestHead> & { readonly values?: Record<string, string> };
}

const SHAPES: Shape[] = [
  {
    name: 'distinct exact paths',
    route: (i) => ({ rules: [{ matches: [{ path: { how: { case: 'exact', value: `/api/item-${i}` } } }] }] }),
    request: (i) => ({ path: `/api/item-${i}` }),
  },
  {
    name: 'distinct prefixes',
    route: (i) => ({
      rules: [{ matches: [{ path: { how: { case: 'prefix', value: `/api/item-${i}` } } }] }],
    }),
    request: (i) => ({ path: `/api/item-${i}/part` }),
  },
  {
    name: 'distinct hosts',
    route: (i) => ({ hostnames: [`tenant-${i}.example.com`], rules: [{}] }),
    request: (i) => ({ authority: `tenant-${i}.example.com` }),
  },
  {
    name: 'distinct wildcard hosts',
    route: (i) => ({ hostnames: [`*.tenant-${i}.example.com`], rules: [{}] }),
    request: (i) => ({ authority: `www.tenant-${i}.example.com` }),
  },
  {
    name: 'one path, distinct values of a header',
    route: (i) => ({
      rules: [{ matches: [{ headers: [{ name: 'x-tenant', how: { case: 'exact', value: `t${i}` } }] }] }],
    }),
    request: (i) => ({ values: { 'x-tenant': `t${i}` } }),
  },
];

function routes(shape: Shape, count: number): Route[] {
  return Array.from({ length: count }, (_, i) =>
    create(RouteSchema, {
      ...{ kind: 'HTTPRoute', namespace: 'shop', name: `route-${i}`, parents: [{ service: SERVICE }] },
      ...shape.route(i),
    }),
  );
}

/** As many requests for each size, spread over all of its routes. */
function requests(shape: Shape, count: number): RequestHead[] {
  return Array.from({ length: MANY }, (_, n): RequestHead => {
    const { values = {}, ...rest } = shape.request((n * 7919) % count);
    const common = { accept: '*/*', 'user-agent': 'bench', 'x-request-id': String(n) };
    return {
      ...{ method: 'GET', authority: 'payments', path: '/', query: '', protocol: 'http1' },
      headers: Object.assign(Object.create(null) as Headers, common, values),
      source: { ip: '10.0.0.9', port: 40000, identity: undefined, workload: undefined },
      ...{ service: SERVICE, port: 80, destinationIp: '10.96.0.7', remoteIp: '10.0.0.9', jwt: undefined },
      ...rest,
    };
  });
}

/** Nanoseconds of processor time for one look-up: what else the machine does must not count. */
function measure(table: RouteTable, asked: readonly RequestHead[]): number {
  const start = process.threadCpuUsage().user;
  for (let i = 0; i < LOOKUPS; i += 1) {
    const head = asked[i % asked.length];
    if (head === undefined || table.match(head, undefined).kind !== 'matched') throw new Error('no match');
  }
  return ((process.threadCpuUsage().user - start) * 1000) / LOOKUPS;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

function timed<T>(work: () => T): [T, number] {
  const start = performance.now();
  return [work(), performance.now() - start];
}

console.log(`| shape | ${FEW} routes | ${MANY} routes | ratio | build | build after a change |`);
console.log('|---|---|---|---|---|---|');
for (const shape of SHAPES) {
  const many = routes(shape, MANY);
  const [largeTable, built] = timed(() => new RouteTable(SERVICE, many));
  const changed = many.with(1, create(RouteSchema, many[1]));
  const [, rebuilt] = timed(() => new RouteTable(SERVICE, changed));
  const small = {
    table: new RouteTable(SERVICE, routes(shape, FEW)),
    asked: requests(shape, FEW),
    ns: [] as number[],
  };
  const large = { table: largeTable, asked: requests(shape, MANY), ns: [] as number[] };
  // In turns, so that both sizes meet the same machine; the first round only warms up.
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const side of [small, large]) {
      const ns = measure(side.table, side.asked);
      if (round > 0) side.ns.push(ns);
    }
  }
  const [few, lots] = [median(small.ns), median(large.ns)];
  console.log(
    `| ${shape.name} | ${few.toFixed(0)} ns | ${lots.toFixed(0)} ns | ${(lots / few).toFixed(2)} | ${built.toFixed(0)} ms | ${rebuilt.toFixed(0)} ms |`,
  );
}
