import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { Backoff } from '../../../lib/backoff.ts';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { Reflector } from '../../../lib/kubernetes/reflector.ts';
import { errorText } from '../../../lib/loam-error.ts';
import type { Authority } from '../../ca/root.ts';
import { ControllerError } from '../../errors.ts';
import type { SourceGate } from '../../sources/source.ts';
import { authorityOf, makeAuthorityValues } from './authority-secret.ts';
import { ensureSecret, type SecretData, secretOf } from './secret.ts';

export interface WatchedAuthorityOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Of the Secret. */
  readonly name: string;
  readonly trustDomain: string;
  readonly log: Logger;
}

/** The Secret that is Loam's own: made where it is not there, and put back when it is deleted. */
export const AUTHORITY_SECRET = 'loam-ca';
const RETRY = { initialMs: 500, maxMs: 15_000 };

/**
 * The mesh's authority from its Secret, followed. One that cannot be used does not count: the former stays in force, and the gate says
 * what is wrong. Loam's own is made where there is none, and put back when it is deleted, since another root would cut the
 * mesh in two. One of another name is somebody else's to make (the user, cert-manager): it is waited for.
 */
export class WatchedAuthority {
  readonly #options: WatchedAuthorityOptions;
  readonly #events = new EventEmitter<{ change: [Authority] }>();
  readonly #stop = new AbortController();
  readonly #reflector: Reflector;
  #secret: SecretData | undefined;
  #current: Authority | undefined;
  #problem = 'not read yet';
  #changing: Promise<void> = Promise.resolve();

  constructor(options: WatchedAuthorityOptions) {
    this.#options = options;
    const { client, namespace, name, log } = options;
    this.#reflector = new Reflector({
      ...{ client, log, path: `/api/v1/namespaces/${namespace}/secrets` },
      query: { fieldSelector: `metadata.name=${name}` },
      onChange: (_, now) => {
        // One after the other, so that the last one counts.
        this.#changing = this.#changing.then(async () => {
          if (now === undefined) await this.#putBack();
          // What is wrong with it is told by the gate.
          else await this.#take(secretOf(now)).catch(() => undefined);
        });
      },
    });
  }

  /** Not ready only while there is no authority at all; the reason also tells what is wrong with a newer one. */
  gate(): SourceGate {
    return { name: 'authority', ready: this.#current !== undefined, reason: this.#problem };
  }

  /** PEM of all roots that are to be trusted; empty while there is no authority. */
  get rootsPem(): string {
    return this.#current?.rootsPem ?? '';
  }

  onChange(listener: (authority: Authority) => void, signal: AbortSignal): void {
    this.#events.on('change', listener);
    signal.addEventListener('abort', () => this.#events.off('change', listener), { once: true });
  }

  /** The present one. Waits for the API server, and for a Secret that can be used, as long as it takes. */
  async load(): Promise<Authority> {
    const { client, namespace, name, trustDomain } = this.#options;
    const backoff = new Backoff(RETRY);
    const place = { client, namespace, name };
    for (;;) {
      try {
        const secret = await ensureSecret(place, () => {
          if (name === AUTHORITY_SECRET) return makeAuthorityValues(trustDomain);
          throw new ControllerError(
            'CA_ROOT',
            `there is no Secret ${namespace}/${name}, which is waited for`,
          );
        });
        const authority = await this.#take(secret);
        this.#reflector.start();
        return authority;
      } catch (error) {
        if (this.#stop.signal.aborted) throw error;
        this.#say(errorText(error));
        await new Promise((resolve) => setTimeout(resolve, backoff.next()));
      }
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#reflector.close();
    await this.#changing;
  }

  async #take(secret: SecretData): Promise<Authority> {
    try {
      const authority = await authorityOf(secret);
      const before = this.#secret;
      this.#secret = secret;
      this.#problem = '';
      if (this.#current !== undefined && before !== undefined && sameValues(before, secret))
        return this.#current;
      const isFirst = this.#current === undefined;
      this.#current = authority;
      this.#options.log.info(
        { issuer: authority.issuer.subject, roots: authority.rootsPem.split('BEGIN CERTIFICATE').length - 1 },
        isFirst ? 'certificate authority' : 'another certificate authority is in force',
      );
      if (!isFirst) this.#events.emit('change', authority);
      return authority;
    } catch (error) {
      this.#say(errorText(error));
      throw error;
    }
  }

  async #putBack(): Promise<void> {
    const { client, namespace, name, log } = this.#options;
    const values = this.#secret?.values;
    if (values === undefined || this.#stop.signal.aborted) return;
    if (name !== AUTHORITY_SECRET) {
      this.#say(`the Secret ${namespace}/${name} is gone`);
      return;
    }
    log.warn({ secret: `${namespace}/${name}` }, 'the Secret is gone, and is put back');
    await ensureSecret({ client, namespace, name }, () => Promise.resolve(values)).catch((error: unknown) =>
      this.#say(`the Secret is gone, and cannot be put back: ${errorText(error)}`),
    );
  }

  #say(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    const inForce =
      this.#current === undefined ? 'there is no certificate authority' : 'the former one stays in force';
    this.#options.log.error({ reason: problem }, `the certificate authority cannot be used; ${inForce}`);
  }
}

function sameValues(a: SecretData, b: SecretData): boolean {
  return JSON.stringify(Object.entries(a.values).sort()) === JSON.stringify(Object.entries(b.values).sort());
}
