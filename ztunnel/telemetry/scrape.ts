import { errorText } from '../../lib/loam-error.ts';
import type { MetricsPage } from '../../lib/admin/metrics-page.ts';
import type { Readiness } from '../../lib/admin/readiness.ts';
import type { StateFeed } from '../control-plane.ts';
import type { Logger } from '../log.ts';
import type { PodDirectory } from '../pods/pod-directory.ts';
import type { ConnectionWorker } from '../worker/worker-host.ts';
import type { MetricsRegistry } from './metrics-registry.ts';

/** A scrape does not wait longer than this for the worker's newest counts. */
const SCRAPE_WAIT_MS = 500;

/** All metrics as Prometheus reads them, with the worker's newest counts where it gives them in time. */
export async function scrape({
  metrics,
  pods,
  readiness,
  worker,
  feed,
  log,
  accept,
}: {
  readonly metrics: MetricsRegistry;
  readonly pods: PodDirectory;
  readonly readiness: Readiness;
  readonly worker: ConnectionWorker;
  readonly feed: StateFeed | undefined;
  readonly log: Logger;
  /** The header of who asks. */
  readonly accept: string | undefined;
}): Promise<MetricsPage> {
  const rows = pods.rows();
  const served = rows.filter((pod) => pod.state.kind === 'served').length;
  metrics.pods(served, rows.length - served);
  metrics.gates(readiness.report().gates);
  const status = feed?.status();
  metrics.xdsConnected(status?.connected ?? false);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>(
    (resolve) => (timer = setTimeout(() => resolve(undefined), SCRAPE_WAIT_MS)),
  );
  // An answer that comes after the wait is counted all the same.
  const counted = worker.request('metrics', {}).then((batch) => metrics.apply(batch));
  counted.catch((error: unknown) =>
    log.debug({ error: errorText(error) }, 'metrics without the newest counts'),
  );
  await Promise.race([counted.catch(() => undefined), late]);
  clearTimeout(timer);
  return metrics.page(accept);
}
