import type { Logger } from 'pino';
import { Backoff } from '../../../lib/backoff.ts';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { errorText } from '../../../lib/loam-error.ts';
import type { Authority } from '../../ca/root.ts';

export const ROOT_CONFIG_MAP = 'loam-ca-root-cert';
/** What ztunnels and waypoints mount: see cli/install/render. */
export const ROOT_KEY = 'root-cert.pem';
const RETRY = { initialMs: 500, maxMs: 15_000 };

export interface RootConfigMapOptions {
  readonly client: Pick<KubeClient, 'patch'>;
  readonly namespace: string;
  readonly log: Logger;
}

/**
 * Tells the namespace's pods by a ConfigMap which roots to trust: a ztunnel cannot start without. Every replica writes it, since
 * all have the same authority from the same Secret and what they apply is the same: there is no writer to wait for.
 */
export class RootConfigMap {
  readonly #options: RootConfigMapOptions;
  readonly #stop = new AbortController();
  #wanted: string | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: RootConfigMapOptions) {
    this.#options = options;
  }

  /** Writes the roots, as often as it takes; of several the last one counts. */
  publish({ rootsPem }: Pick<Authority, 'rootsPem'>): void {
    this.#wanted = rootsPem;
    this.#running = this.#running.then(() => this.#write(rootsPem));
  }

  /** Waits for what is being written, and for no more attempts. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #write(rootsPem: string): Promise<void> {
    const { client, namespace, log } = this.#options;
    const backoff = new Backoff(RETRY);
    for (let said = ''; this.#wanted === rootsPem && !this.#stop.signal.aborted;) {
      try {
        await client.patch(
          `/api/v1/namespaces/${namespace}/configmaps/${ROOT_CONFIG_MAP}`,
          {
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: {
              name: ROOT_CONFIG_MAP,
              namespace,
              labels: { 'app.kubernetes.io/managed-by': 'loam-controller' },
            },
            data: { [ROOT_KEY]: rootsPem },
          },
          'application/apply-patch+yaml',
          { fieldManager: 'loam-controller', force: true },
        );
        return;
      } catch (error) {
        const reason = errorText(error);
        if (reason !== said)
          log.error({ configMap: `${namespace}/${ROOT_CONFIG_MAP}`, reason }, 'the roots cannot be told');
        said = reason;
        await this.#pause(backoff.next());
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#stop.signal.addEventListener(
        'abort',
        () => {
          clearTimeout(timer);
          resolve();
        },
        { once: true },
      );
    });
  }
}
