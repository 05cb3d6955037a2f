import type { Logger } from 'pino';
import { Backoff } from '../../../lib/backoff.ts';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { errorText } from '../../../lib/loam-error.ts';
import type { Authority } from '../../ca/root.ts';

export const ROOT_CONFIG_MAP = 'loam-ca-root-cert';
/** What ztunnels and waypoints mount: see cli/install/render. */
export const ROOT_KEY = 'root-cert.pem';
/** Whoever deletes or edits it finds it as it was, so much later at most: a ztunnel that starts meanwhile waits. */
const RESYNC_MS = 30_000;
const RETRY = { initialMs: 500, maxMs: 15_000 };

export interface RootConfigMapOptions {
  readonly client: Pick<KubeClient, 'patch'>;
  readonly namespace: string;
  readonly log: Logger;
  /** Other than the usual one for tests, which cannot wait so long. */
  readonly resyncMs?: number;
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
  #isWriting = false;

  constructor(options: RootConfigMapOptions) {
    this.#options = options;
    const resync = setInterval(() => {
      if (this.#wanted !== undefined && !this.#isWriting) this.publish({ rootsPem: this.#wanted });
    }, options.resyncMs ?? RESYNC_MS);
    this.#stop.signal.addEventListener('abort', () => clearInterval(resync));
  }

  /** Writes the roots, as often as it takes; of several the last one counts. */
  publish({ rootsPem }: Pick<Authority, 'rootsPem'>): void {
    this.#wanted = rootsPem;
    this.#isWriting = true;
    this.#running = this.#running.then(async () => {
      await this.#write(rootsPem);
      this.#isWriting = this.#wanted !== rootsPem;
    });
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
