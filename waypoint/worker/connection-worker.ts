/** Entry of a connection worker thread: it accepts and carries connections, with its own copy of the mesh's state. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { getHeapStatistics } from 'node:v8';
import { assertNever } from '../../lib/assert-never.ts';
import { threadMemory } from '../../lib/memory.ts';
import { errorText } from '../../lib/loam-error.ts';
import { createWaypointWorker } from './waypoint-worker.ts';
import type { FromWorker, Requests, ToWorker, WorkerStart } from './messages.ts';

const STATUS_INTERVAL_MS = 1_000;

if (parentPort === null) throw new Error('connection-worker is a worker thread, not a program');
const port = parentPort;
const post = (message: FromWorker): void => port.postMessage(message);
const worker = createWaypointWorker(workerData as WorkerStart, post);

async function answer<K extends keyof Requests>(
  id: number,
  what: K,
  body: Requests[K]['request'],
): Promise<void> {
  try {
    const value =
      what === 'memory' ? await threadMemory('collect' in body && body.collect) : worker.answer(what);
    post({ type: 'answer', id, value });
  } catch (error) {
    post({ type: 'failed', id, error: errorText(error) });
  }
}

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'addresses':
      worker.applyAddresses(message.delta);
      return;
    case 'policies':
      worker.policies.apply(message.delta);
      return;
    case 'resources':
      worker.config.apply(message.delta);
      return;
    case 'first-state':
      worker.firstState.setComplete();
      return;
    case 'certificate':
      worker.certificates.put(message.bundle);
      return;
    case 'certificate-gone':
      worker.certificates.remove(message.identity);
      return;
    case 'watch-flows':
      worker.watchFlows(message.level);
      return;
    case 'log-level':
      worker.setLogLevel(message.level);
      return;
    case 'request':
      void answer(message.id, message.what, message.body);
      return;
    case 'drain':
      void worker.drain(message.deadlineMs).then((cut) => post({ type: 'drained', cut }));
      return;
    default:
      assertNever(message, 'message to the connection worker');
  }
});

const loopDelay = monitorEventLoopDelay({ resolution: 20 });
loopDelay.enable();
setInterval(() => {
  const maxLoopDelayMs = loopDelay.max / 1e6;
  loopDelay.reset();
  const { used_heap_size: heapUsed, heap_size_limit: heapLimit } = getHeapStatistics();
  post({ type: 'status', status: { ...worker.status(), maxLoopDelayMs, heapUsed, heapLimit } });
}, STATUS_INTERVAL_MS);
