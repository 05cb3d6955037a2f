import { WorkerHost, type WorkerHandlers } from '../../lib/mesh/worker/worker-host.ts';
import { siblingModule } from '../../lib/package-root.ts';
import type { OwnFromWorker, OwnToWorker, Requests, WorkerStart, WorkerStatus } from './messages.ts';

export type ConnectionWorker = WorkerHost<Requests, OwnToWorker, OwnFromWorker, WorkerStatus>;

/** Starts the connection worker. */
export function startWorker(
  start: WorkerStart,
  heapMb: number,
  handlers: WorkerHandlers<WorkerStatus, OwnFromWorker>,
): ConnectionWorker {
  const module = siblingModule(import.meta.url, './connection-worker');
  return new WorkerHost({ module, name: 'connections', start, heapMb }, handlers);
}
