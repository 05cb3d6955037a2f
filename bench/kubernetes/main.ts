/**
 * What a large cluster costs the controller: memory, the time from its start to the first snapshot, and from a pod's change to the
 * snapshot with it. The API server is a fake one (test/support/fake-kube-api.ts) in a process of its own.
 *
 * `node --expose-gc bench/kubernetes/main.ts [services] [pods]`, by default 10,000 and 20,000
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { compileMesh } from '../../controller/compile/mesh.ts';
import { KubernetesSource } from '../../controller/sources/kubernetes/source.ts';
import { EMPTY_SNAPSHOT, makeSnapshot, type Snapshot } from '../../controller/xds/snapshot.ts';
import type { KubeAccess } from '../../lib/kubernetes/access.ts';
import { KubeClient } from '../../lib/kubernetes/client.ts';

const CHANGES = 20;
const MB = 1024 * 1024;
const MESH = { rootNamespace: 'loam-system', trustDomain: 'cluster.local' };
const [services = 10_000, pods = 20_000] = process.argv.slice(2).map(Number);

const cluster = fork(fileURLToPath(new URL('./cluster.ts', import.meta.url)), [
  String(services),
  String(pods),
]);
const [{ access }] = (await once(cluster, 'message')) as [{ access: KubeAccess }];
const client = new KubeClient(access);
const source = new KubernetesSource({ client, log: pino({ level: 'silent' }), ...MESH });

const started = performance.now();
await source.start();
const synced = performance.now();
let snapshot = compile(EMPTY_SNAPSHOT);
const compiled = performance.now();
const atFirst = rss();
globalThis.gc?.();
await sleep(1_000);
const atRest = rss();

const times: number[] = [];
const compileMs: number[] = [];
const cpuBefore = process.cpuUsage();
for (let i = 0; i < CHANGES; i += 1) {
  const end = new AbortController();
  const changed = new Promise<void>((resolve) => source.onChange(() => resolve(), end.signal));
  const from = performance.now();
  cluster.send('change');
  await changed;
  end.abort();
  const before = performance.now();
  snapshot = compile(snapshot);
  times.push(performance.now() - from);
  compileMs.push(performance.now() - before);
}
const cpu = process.cpuUsage(cpuBefore);
console.log(
  JSON.stringify({
    services,
    pods,
    resources: snapshot.addresses.resources.size,
    listedMs: Math.round(synced - started),
    firstSnapshotMs: Math.round(compiled - started),
    changeToSnapshotMs: { median: median(times), max: Math.round(Math.max(...times)) },
    cpuOfAChangeMs: Math.round((cpu.user + cpu.system) / 1000 / CHANGES),
    ofThatCompilingMs: median(compileMs),
    rssMb: { atFirst, atRest, afterChanges: rss() },
    heapMb: Math.round(process.memoryUsage().heapUsed / MB),
  }),
);
await source.close();
client.close();
cluster.disconnect();

function compile(before: Snapshot): Snapshot {
  const objects = [...source.current.objects.values()].map(({ object }) => object);
  const mesh = compileMesh({
    objects,
    assignments: source.assignments.current,
    clusterId: 'Kubernetes',
    ...MESH,
  });
  return makeSnapshot(before.generation + 1, mesh, before);
}

function rss(): number {
  return Math.round(process.memoryUsage.rss() / MB);
}

function median(values: readonly number[]): number {
  return Math.round([...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0);
}
