/** Entry of the connection worker thread: it carries all connections, and has its own copy of the mesh's state. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { getHeapStatistics } from 'node:v8';
import { assertNever } from '../../lib/assert-never.ts';
import { FlowRecorder, type LiveFlow } from '../../lib/flow/recorder.ts';
import { errorText } from '../../lib/loam-error.ts';
import { threadMemory } from '../../lib/memory.ts';
import { CertificateStore } from '../../lib/mesh/hbone/certificate-store.ts';
import { ConnectionRegistry } from '../proxy/connection-registry.ts';
import { DescriptorReserve } from '../../lib/mesh/hbone/descriptor-reserve.ts';
import { MemoryReserve, tellMemory } from '../../lib/mesh/hbone/memory-reserve.ts';
import { MemoryRelief } from '../proxy/memory-relief.ts';
import { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import { HbonePool } from '../../lib/mesh/hbone/hbone-pool.ts';
import { AddressDemand } from '../on-demand/address-demand.ts';
import type { Mesh } from '../proxy/mesh.ts';
import { FirstState } from '../../lib/mesh/state/first-state.ts';
import { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { TrackedConnection } from '../proxy/tracked-connection.ts';
import { ConnectionFlows, liveFlow } from '../telemetry/connection-flows.ts';
import { FlowMetrics } from '../telemetry/flow-metrics.ts';
import { drainWorker, stopAccepting } from './drain.ts';
import type { Requests, ToWorker, WorkerStart } from './messages.ts';
import { Outbox } from './outbox.ts';
import { PodSet } from './pod-set.ts';

const METRICS_INTERVAL_MS = 1_000;
const STATUS_INTERVAL_MS = 1_000;
const SWEEP_INTERVAL_MS = 15_000;
const CUT_LOG_INTERVAL_MS = 10_000;

if (parentPort === null) throw new Error('connection-worker is a worker thread, not a program');
const port = parentPort;
const start = workerData as WorkerStart;
const outbox = new Outbox(port, start.logLevel);
const registry = new ConnectionRegistry();
const recorder = new FlowRecorder((batch) => outbox.post({ type: 'flows', batch }), liveFlows);

function* liveFlows(): Iterable<LiveFlow> {
  for (const each of registry.live()) if (each instanceof TrackedConnection) yield liveFlow(each);
}

const mesh: Mesh = {
  clusterId: start.clusterId,
  trustDomain: start.trustDomain,
  limits: start.limits,
  descriptors: new DescriptorReserve(),
  memory: new MemoryReserve({
    limit: start.memoryLimit,
    open: () => registry.size,
    onChange: (isTouched, use) => tellMemory(outbox.log, isTouched, use),
  }),
  relief: new MemoryRelief({
    registry,
    limit: () => mesh.memory.nearestLimit,
    onCut: (pod, connections) => tellCut(pod, connections),
  }),
  firstState: new FirstState(),
  workloads: new WorkloadStore(),
  policies: new PolicyStore(),
  egress: start.egress ? new EgressStore() : undefined,
  demand: start.onDemand
    ? new AddressDemand({
        ask: (names) => outbox.post({ type: 'addresses-wanted', names }),
        forget: (names) => outbox.post({ type: 'addresses-unwanted', names }),
      })
    : undefined,
  certificates: new CertificateStore((identity) => outbox.post({ type: 'certificate-wanted', identity })),
  pool: new HbonePool(),
  registry,
  metrics: new FlowMetrics(),
  access: outbox.access,
  span: outbox.span,
  told: (uid) => mesh.egress?.telemetryOf(uid),
  flows: new ConnectionFlows(recorder),
  log: outbox.log,
};
const pods = new PodSet(mesh);

let cutLoggedAt = -Infinity;
function tellCut(pod: string, connections: number): void {
  for (let i = 0; i < connections; i += 1) mesh.metrics.refused('cut-for-memory');
  const now = performance.now();
  if (now - cutLoggedAt < CUT_LOG_INTERVAL_MS) return;
  cutLoggedAt = now;
  mesh.log.error('connections are cut: memory is scarce, and their pod holds the most of it', { pod });
}

mesh.policies.onChange(() => mesh.registry.recheckSoon());
mesh.egress?.onChange(() => mesh.registry.recheckSoon());
mesh.workloads.onChange((delta) => {
  // A workload that left or changed may have left its address to another: no new stream on its old connections.
  for (const uid of delta.removed) mesh.pool.evictWorkload(uid);
  mesh.registry.recheckSoon();
});

async function answer<K extends keyof Requests>(
  what: K,
  body: Requests[K]['request'],
): Promise<Requests[keyof Requests]['answer']> {
  switch (what) {
    case 'add-pod': {
      const { pod, fds } = body as Requests['add-pod']['request'];
      await pods.add(pod, fds);
      return 'ok';
    }
    case 'accept': {
      const { accepting } = body as Requests['accept']['request'];
      await (accepting ? pods.setAccepting(true) : stopAccepting(mesh, pods));
      return 'ok';
    }
    case 'connections':
      return mesh.registry.rows();
    case 'metrics':
      return mesh.metrics.takeBatch();
    case 'memory':
      return threadMemory((body as Requests['memory']['request']).collect);
    default:
      return assertNever(what, 'request');
  }
}

function receive(message: ToWorker): void {
  switch (message.type) {
    case 'request':
      answer(message.what, message.body).then(
        (value) => outbox.post({ type: 'answer', id: message.id, value }),
        (error: unknown) => outbox.post({ type: 'failed', id: message.id, error: errorText(error) }),
      );
      return;
    case 'maps':
      pods.setMaps(message.fds);
      return;
    case 'remove-pod':
      pods.remove(message.uid, 'the pod was deleted');
      return;
    case 'release-pod':
      pods.release(message.uid);
      return;
    case 'addresses':
      mesh.workloads.apply(message.delta);
      return;
    case 'addresses-told':
      if (message.restored === true) mesh.demand?.restored(message.names);
      else mesh.demand?.told(message.names);
      return;
    case 'policies':
      mesh.policies.apply(message.delta);
      return;
    case 'egress':
      mesh.egress?.apply(message.delta);
      return;
    case 'first-state':
      mesh.firstState.setComplete();
      return;
    case 'certificate':
      mesh.certificates.put(message.bundle);
      return;
    case 'certificate-gone':
      mesh.certificates.remove(message.identity);
      return;
    case 'watch-flows':
      recorder.watch(message.level);
      return;
    case 'log-level':
      outbox.level = message.level;
      return;
    case 'drain':
      void drainWorker(mesh, pods, message.deadlineMs).then((cut) => {
        outbox.post({ type: 'metrics', batch: mesh.metrics.takeBatch() });
        outbox.flush();
        outbox.post({ type: 'drained', cut });
      });
      return;
    default:
      assertNever(message, 'message to the connection worker');
  }
}

port.on('message', receive);

setInterval(() => {
  const batch = mesh.metrics.takeBatch();
  const { flows, evicted, refused, egress } = batch;
  if (flows.length + evicted.length + egress.length + Object.keys(refused).length > 0) {
    outbox.post({ type: 'metrics', batch });
  }
}, METRICS_INTERVAL_MS);

setInterval(() => mesh.demand?.sweep(), SWEEP_INTERVAL_MS);

const loopDelay = monitorEventLoopDelay({ resolution: 20 });
loopDelay.enable();
setInterval(() => {
  const { tunnels, streams } = mesh.pool.stats();
  const maxLoopDelayMs = loopDelay.max / 1e6;
  loopDelay.reset();
  const heap = getHeapStatistics();
  outbox.post({
    type: 'status',
    status: {
      connections: mesh.registry.counts(),
      tunnels,
      tunnelStreams: streams,
      pods: pods.size,
      maxLoopDelayMs,
      heapUsed: heap.used_heap_size,
      heapLimit: heap.heap_size_limit,
    },
  });
}, STATUS_INTERVAL_MS);
