/** The agent's parts, put together. */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import type { Layout } from '../lib/linux/bpf/instance-layout.ts';
import { errorText } from '../lib/loam-error.ts';
import { packageVersion } from '../lib/package-root.ts';
import { destroyConnection, tcpConnections } from '../lib/linux/tcp-connections.ts';
import { systemClock } from './clock.ts';
import type { AgentConfig } from './config.ts';
import { EarlierConnections } from './earlier-connections.ts';
import { KernelRedirection } from './kernel-redirection.ts';
import { LinuxNode } from './linux-node.ts';
import { LocalPodSource } from './local-pod-source.ts';
import { KubernetesSide } from './kubernetes/kubernetes-side.ts';
import { MapWatch } from './map-watch.ts';
import { metricsOf } from './metrics.ts';
import { ObserveFeed } from './observe/observe-feed.ts';
import { ObserveKeeper } from './observe/observe-keeper.ts';
import { OffWatch } from './off-watch.ts';
import type { PodRecord } from './pod-record.ts';
import { problemText } from './pod-source.ts';
import { Reconciler } from './reconciler.ts';
import { SelfMetrics } from './self-metrics.ts';
import { SparePrograms } from './spare-programs.ts';
import { StatusServer } from './status-server.ts';
import { readinessOf, statusOf, type StatusParts } from './status.ts';
import { ZdsServer } from './zds/server.ts';

export interface RunningAgent {
  /** Ends the agent's work; what is enrolled stays enrolled. */
  stop(): Promise<void>;
}

/**
 * Starts everything. The kernel part comes first: it holds the lock that refuses a second agent of the instance.
 *
 * @param onFailure a part can no longer work: the process has to end and be started again
 * @throws BpfError, SeqpacketError, SystemCallError, Error: nothing goes on then
 */
export async function startAgent(
  config: AgentConfig,
  layout: Layout,
  log: Logger,
  onFailure: (error: Error) => void,
): Promise<RunningAgent> {
  await using started = new AsyncDisposableStack();
  const redirection = new KernelRedirection({
    ...config,
    bpffsMounted: config.kubernetes === undefined ? 'by us' : 'required',
    layout,
  });
  started.defer(() => redirection.close());

  mkdirSync(dirname(config.zds), { recursive: true, mode: 0o700 });
  mkdirSync(dirname(config.status), { recursive: true, mode: 0o700 });
  const clock = systemClock;
  const zds = ZdsServer.listen({
    path: config.zds,
    maps: { ownSockets: redirection.ownSocketsMapFd, originalDst: redirection.originalDstMapFd },
    clock,
    log,
    onProgress: () => reconciler.progressed(),
    onFailure,
  });
  started.defer(() => zds.close());

  const records = (): ReadonlyMap<string, PodRecord> => reconciler.records;
  const { kubernetes: access } = config;
  const kubernetes =
    access &&
    new KubernetesSide({
      ...config,
      runFolder: dirname(config.status),
      access,
      redirection,
      clock,
      log,
      records,
    });
  started.defer(() => kubernetes?.close());
  const source = kubernetes?.source ?? new LocalPodSource(config.pods ?? '');
  const node = new LinuxNode(redirection.cgroupPath);
  const observer = redirection.observer();
  started.defer(() => observer[Symbol.dispose]());
  const observed = new ObserveKeeper({ source, port: observer, node, log });
  const observations = new ObserveFeed({
    ...{ node: config.node, port: observer, clock, log },
    pods: () => observed.pods,
  });
  started.defer(() => observations.close());
  const offWatch = new OffWatch(redirection, log);
  const mapWatch = new MapWatch(redirection, log);
  const spares = new SparePrograms(redirection, clock);
  const earlier = new EarlierConnections({
    list: tcpConnections,
    destroy: destroyConnection,
    file: join(dirname(config.status), 'earlier-connections.json'),
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    graceMs: config.enrolGraceMs,
    clock,
    log,
  });
  const onEnrolled = (record: PodRecord): void => earlier.enrolled(record);
  const onPass = (records: Iterable<PodRecord>): void => {
    offWatch.look(records, clock.now());
    mapWatch.look(clock.now());
    earlier.look(records);
    kubernetes?.look(records);
    observed.look();
    spares.passed();
  };
  const reconciler = new Reconciler({
    source,
    redirection,
    node,
    handover: zds,
    clock,
    log,
    onEnrolled,
    onPass,
  });
  started.defer(() => {
    reconciler.stop();
    spares.stop();
  });

  const parts: StatusParts = {
    node: config.node,
    instance: config.instance,
    source,
    reconciler,
    redirection,
    zds,
    earlier,
    kubernetes,
    observe: { keeper: observed, feed: observations, port: observer },
  };
  const self = new SelfMetrics(packageVersion());
  started.defer(() => self.close());
  const status = await StatusServer.listen({
    path: config.status,
    status: () => statusOf(parts),
    metrics: () => `${metricsOf(statusOf(parts), readinessOf(parts))}${self.text()}`,
    readiness: () => readinessOf(parts),
    observe: (response) => observations.serve(response),
    logging: { logLevel: () => log.level, setLogLevel: (level) => (log.level = level) },
  });
  started.defer(() => status.close());

  let reported = '';
  source.start(() => {
    const problems = source.state.problems.map(problemText);
    if (problems.join() !== reported)
      problems.forEach((problem) => log.warn({ problem }, 'the pod source is not in order'));
    reported = problems.join();
    reconciler.trigger();
  });
  started.defer(() => source.close());
  await kubernetes?.start();
  reconciler.trigger();

  const running = started.move();
  return {
    stop: async () => {
      try {
        await running.disposeAsync();
      } catch (error) {
        log.warn({ error: errorText(error) }, 'not everything could be closed');
      }
    },
  };
}
