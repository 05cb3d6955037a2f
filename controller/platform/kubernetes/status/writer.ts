import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { KubeClient } from '../../../../lib/kubernetes/client.ts';
import { hasStatus } from '../../../../lib/kubernetes/errors.ts';
import type { KubeResource } from '../../../../lib/kubernetes/resource.ts';
import { type KubeObject, namespaceOf, objectKey, type ObjectRef } from '../../../model/objects.ts';
import { READ_KINDS } from '../../../sources/kubernetes/kinds.ts';
import type { KubernetesSource } from '../../../sources/kubernetes/source.ts';
import type { ObjectReport, ReportOf } from '../../../status/report.ts';
import type { ControllerMetrics } from '../../../telemetry/metrics.ts';
import { RetryQueue } from '../retry-queue.ts';
import type { Status } from './desired.ts';
import { statusOf, WRITTEN_KINDS } from './of-object.ts';

export interface StatusWriterOptions {
  readonly client: Pick<KubeClient, 'get' | 'patch'>;
  readonly source: Pick<KubernetesSource, 'resource' | 'assignments'>;
  readonly report: ReportOf;
  /** Why no waypoint can be made for a Gateway (`<namespace>/<name>`), if none can. */
  readonly waypointProblem: (gateway: string) => string | undefined;
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
}

const MANAGER = 'loam-controller';
/** How often it is looked whether a status is to be written. */
const LOOK_MS = 1_000;
/** Of writes for one object, so that nobody who writes the same status can make it a storm. */
const INTERVAL_MS = 5_000;
/** Of writes for one object at once: it comes to be in a few steps. */
const BURST = 5;

/**
 * Writes into objects' status what became of them, as it was compiled. Compares with what stands there, and writes only what
 * differs, each object at most every few seconds; what another has written meanwhile is read anew and kept.
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  #reports: ReadonlyMap<string, ObjectReport> = new Map();
  /** By object: until when its writes so far count, if each counts for an interval. */
  readonly #countsUntilMs = new Map<string, number>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  run(signal: AbortSignal): void {
    const { log } = this.#options;
    const queue = new RetryQueue({ work: (key) => this.#write(key), signal, log });
    const timer = setInterval(() => {
      for (const key of this.#differing()) queue.add(key);
    }, LOOK_MS);
    signal.addEventListener('abort', () => clearInterval(timer));
  }

  /** Objects whose status is not what it should be, as far as is known, and that were not written a moment ago. */
  #differing(): string[] {
    const nowMs = performance.now();
    const reports = this.#options.report(WRITTEN_KINDS);
    this.#reports = new Map(reports.map((each) => [objectKey(each), each]));
    for (const key of this.#countsUntilMs.keys())
      if (!this.#reports.has(key)) this.#countsUntilMs.delete(key);
    return [...this.#reports].flatMap(([key, report]) => {
      if ((this.#countsUntilMs.get(key) ?? 0) > nowMs + (BURST - 1) * INTERVAL_MS) return [];
      return this.#wanted(report) === undefined ? [] : [key];
    });
  }

  async #write(key: string): Promise<void> {
    const { client, metrics } = this.#options;
    const report = this.#reports.get(key);
    const kind = READ_KINDS.find((each) => each.kind === report?.kind);
    if (report === undefined || kind === undefined) return;
    const path = objectPath(kind.path, report);
    const now = performance.now();
    this.#countsUntilMs.set(key, Math.max(now, this.#countsUntilMs.get(key) ?? 0) + INTERVAL_MS);
    try {
      const found = await client.get<KubeResource & { readonly status?: Status }>(path);
      const wanted = this.#wanted(report, found.status ?? {});
      // What was compiled is another state than what stands there now: it is looked at again.
      if (wanted === undefined || wanted.generation !== found.metadata.generation) return;
      const { resourceVersion } = found.metadata;
      const body = { metadata: { resourceVersion }, status: wanted.status };
      // Fails where somebody has written since: then it is read anew.
      await client.patch(`${path}/status`, body, 'application/merge-patch+json', { fieldManager: MANAGER });
      metrics.writes.inc({ what: 'status', result: 'ok' });
    } catch (error) {
      if (hasStatus(error, 404)) return;
      metrics.writes.inc({ what: 'status', result: hasStatus(error, 409) ? 'conflict' : 'error' });
      throw error;
    }
  }

  /**
   * The status that an object should have, and the generation that it is about; undefined where it has it, or where it is not ours
   * to say.
   *
   * @param present its status as read lately
   */
  #wanted(
    report: ObjectReport,
    present?: Status,
  ): { readonly status: Status; readonly generation: number } | undefined {
    const resource = this.#options.source.resource(report);
    if (resource === undefined || resource.metadata.deletionTimestamp !== undefined) return undefined;
    const status = present ?? resource.status ?? {};
    const { generation = 0 } = resource.metadata;
    const now = new Date().toISOString().replace(/\.\d+Z/, 'Z');
    // These kinds' schemas at the API server promise what is read of them here.
    const object = resource.object as unknown as KubeObject;
    const { gateways = {} } = this.#options.source.assignments.current;
    const problem =
      object.kind === 'Gateway'
        ? this.#options.waypointProblem(`${namespaceOf(object)}/${object.metadata.name}`)
        : undefined;
    const found = problem === undefined ? report : withoutWaypoint(report, problem);
    const wanted = statusOf(object, gateways, { status, generation, report: found, now });
    return wanted === undefined || isDeepStrictEqual(wanted, status)
      ? undefined
      : { status: wanted, generation };
  }
}

/** Whatever was compiled for a Gateway, nothing takes its traffic. */
function withoutWaypoint(report: ObjectReport, message: string): ObjectReport {
  const others = (report.conditions ?? []).filter(({ type }) => type !== 'Programmed');
  const condition = { type: 'Programmed', status: 'False', reason: 'Invalid', message } as const;
  return { ...report, conditions: [...others, condition] };
}

function objectPath(collection: string, { namespace, name }: ObjectRef): string {
  if (namespace === '') return `${collection}/${name}`;
  const slash = collection.lastIndexOf('/');
  return `${collection.slice(0, slash)}/namespaces/${namespace}${collection.slice(slash)}/${name}`;
}
