import type { Logger } from 'pino';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import type { Config, KubernetesConfig } from '../../config.ts';
import type { KubernetesSource } from '../../sources/kubernetes/source.ts';
import type { ReportOf } from '../../status/report.ts';
import type { ControllerMetrics } from '../../telemetry/metrics.ts';
import { EndedCleanup } from './ended-cleanup.ts';
import { LeaderElection } from './leader-election.ts';
import { NodeTaints } from './node-taints.ts';
import { StatusWriter } from './status/writer.ts';
import type { WatchedAuthority } from './watched-authority.ts';
import { WaypointDeployer } from './waypoints/deployer.ts';
import type { WaypointSettings } from './waypoints/objects.ts';

export interface LeaderOptions {
  readonly config: KubernetesConfig;
  readonly mesh: Config;
  readonly client: KubeClient;
  readonly source: KubernetesSource;
  readonly authority: WatchedAuthority;
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
}

export const LEADER_LEASE = 'loam-controller-leader';

/** What one of all replicas does: waypoints, roots, status and nodes' taints are written by it alone. Every replica serves. */
export class Leader {
  readonly #options: LeaderOptions;
  #election: LeaderElection | undefined;

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  start(report: ReportOf): void {
    const { config, client, metrics, log } = this.#options;
    const { namespace, replica } = config;
    this.#election = new LeaderElection({
      ...{ client, namespace, name: LEADER_LEASE, replica, log },
      onLead: (signal) => {
        metrics.leader.set(1);
        signal.addEventListener('abort', () => metrics.leader.set(0));
        this.#lead(report, signal);
      },
    });
    this.#election.start();
  }

  async close(): Promise<void> {
    await this.#election?.close();
  }

  #lead(report: ReportOf, signal: AbortSignal): void {
    const { config, client, source, authority, metrics, log } = this.#options;
    const deployer = new WaypointDeployer({
      ...{ client, source, namespace: config.namespace, settings: this.#waypoints(), metrics, log },
      rootsPem: () => authority.rootsPem,
    });
    deployer.run(signal, (listener, until) => authority.onChange(listener, until));
    new NodeTaints({ client, namespace: config.namespace, metrics, log }).run(signal);
    new EndedCleanup({ client, namespace: config.namespace, log }).run(signal);
    const waypointProblem = (gateway: string): string | undefined => deployer.problems.get(gateway);
    new StatusWriter({ client, source, report, waypointProblem, metrics, log }).run(signal);
  }

  #waypoints(): WaypointSettings | undefined {
    const { config, mesh } = this.#options;
    const { waypointImage: image, tokenAudience } = config;
    const { trustDomain, clusterId, servingNames, listen } = mesh;
    const [name] = servingNames;
    if (image === undefined || name === undefined) return undefined;
    return { image, controller: `https://${name}:${listen.port}`, tokenAudience, trustDomain, clusterId };
  }
}
