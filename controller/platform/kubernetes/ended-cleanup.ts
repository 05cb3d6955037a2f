import type { Logger } from 'pino';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { hasStatus, orAbsent } from '../../../lib/kubernetes/errors.ts';
import type { KubeResource } from '../../../lib/kubernetes/resource.ts';
import { errorText } from '../../../lib/loam-error.ts';

const LOOK_MS = 10_000;

export interface EndedCleanupOptions {
  readonly client: Pick<KubeClient, 'get' | 'delete'>;
  readonly namespace: string;
  readonly log: Logger;
  /** For tests. */
  readonly lookMs?: number;
}

/**
 * Removes what an uninstall left that was begun and not ended, where Loam is installed all the same: the DaemonSet that cleans nodes would take
 * each node out of the mesh again as soon as its agent ends. `loam install` and `loam upgrade` do it themselves; Helm does not know of it.
 * An uninstall removes the agents' DaemonSet before it makes this one: where both are there, the agents are the younger wish.
 */
export class EndedCleanup {
  readonly #options: EndedCleanupOptions;
  #said = '';

  constructor(options: EndedCleanupOptions) {
    this.#options = options;
  }

  /** Looks every few seconds until the signal aborts. */
  run(signal: AbortSignal): void {
    let isLooking = false;
    const look = (): void => {
      if (isLooking) return;
      isLooking = true;
      void this.#look().finally(() => (isLooking = false));
    };
    const timer = setInterval(look, this.#options.lookMs ?? LOOK_MS);
    signal.addEventListener('abort', () => clearInterval(timer));
    look();
  }

  async #look(): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#end();
      this.#said = '';
    } catch (error) {
      // 409: an uninstall goes on with it at this moment.
      const reason = errorText(error);
      if (reason !== this.#said && !hasStatus(error, 409))
        log.warn({ reason }, 'cannot see whether an uninstall was left unfinished');
      this.#said = reason;
    }
  }

  async #end(): Promise<void> {
    const { client, namespace, log } = this.#options;
    const folder = `/apis/apps/v1/namespaces/${namespace}/daemonsets`;
    // In this order: between the two an uninstall may begin.
    const cleanup = await orAbsent(client.get<KubeResource>(`${folder}/loam-cleanup`));
    if (cleanup === undefined || cleanup.metadata.deletionTimestamp !== undefined) return;
    const agents = await orAbsent(client.get<KubeResource>(`${folder}/loam-agent`));
    if (agents === undefined || agents.metadata.deletionTimestamp !== undefined) return;
    const { uid, resourceVersion } = cleanup.metadata;
    await orAbsent(
      client.delete(`${folder}/loam-cleanup`, {
        propagationPolicy: 'Background',
        preconditions: {
          ...(uid !== undefined && { uid }),
          ...(resourceVersion !== undefined && { resourceVersion }),
        },
      }),
    );
    log.info('removed what was left of an uninstall that was begun and not ended: DaemonSet loam-cleanup');
  }
}
