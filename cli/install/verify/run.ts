/** What the steps of a verification have in common: the pods that call, the ztunnels that saw it, and waiting for either. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Pod } from '@kubernetes/client-node';
import { errorText } from '../../../lib/loam-error.ts';
import type { ClusterApi } from '../cluster/api.ts';
import { collectionPath, objectPath } from '../cluster/kinds.ts';
import { reasonOf, type PodAsker, PodReasons } from '../cluster/pod-reasons.ts';
import { InstallError } from '../errors.ts';
import { selectorOf, type Manifest } from '../render/manifest.ts';
import { FIELD_MANAGER } from '../ownership.ts';
import type { Role } from './objects.ts';
import { dialCommand, lookUpCommand, showCommand, type Dialled } from './pod-scripts.ts';

const LOOK_MS = 300;
const CONNECTIONS = 'http://127.0.0.1:15000/connections';

export type VerifyApi = Pick<ClusterApi, 'find' | 'list' | 'apply' | 'create' | 'delete' | 'text'>;

/** A pod of the verification that runs. */
export interface Placed {
  readonly name: string;
  readonly node: string;
  readonly ip: string;
}

/** A connection as a ztunnel lists it (ztunnel/admin). */
export interface SeenConnection {
  readonly direction: 'inbound' | 'outbound';
  readonly source: { readonly address: string; readonly identity?: string };
  readonly via?: string;
  readonly destination: {
    readonly address: string;
    readonly identity?: string;
    readonly hboneAddress?: string;
  };
}

export interface RunOptions {
  readonly api: VerifyApi;
  readonly pods: PodAsker;
  /** Of the installation. */
  readonly system: string;
  /** Of this run. */
  readonly namespace: string;
  readonly timeoutMs: number;
  /** Aborted: the person has had enough. */
  readonly signal: AbortSignal;
}

export class VerifyRun {
  readonly #options: RunOptions;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  get namespace(): string {
    return this.#options.namespace;
  }

  get api(): VerifyApi {
    return this.#options.api;
  }

  apply(object: Manifest): Promise<unknown> {
    return this.#options.api.apply(objectPath(object), object, FIELD_MANAGER);
  }

  remove(object: Manifest): Promise<unknown> {
    return this.#options.api.delete(objectPath(object));
  }

  /**
   * Looks again and again until something is so.
   *
   * @returns what was seen last, whether it was so or not
   * @throws InstallError INSTALL_STATE when the run is interrupted
   */
  async until<T>(look: () => Promise<T>, isSo: (seen: T) => boolean): Promise<T> {
    const deadline = Date.now() + this.#options.timeoutMs;
    for (;;) {
      this.#throwIfInterrupted();
      const seen = await this.#abortable(look());
      if (isSo(seen) || Date.now() > deadline) return seen;
      await sleep(LOOK_MS);
    }
  }

  /** Waits for a pod. @throws InstallError INSTALL_NOT_READY with what keeps it */
  async placed(role: Role): Promise<Placed> {
    const { api, pods, namespace } = this.#options;
    const path = `${collectionPath('v1/Pod', namespace)}/${role}`;
    const pod = await this.until(
      () => api.find<V1Pod>(path),
      (seen) => seen !== undefined && reasonOf(seen) === undefined && ipOf(seen) !== undefined,
    );
    const why = pod === undefined ? 'it is gone' : await new PodReasons(api, pods).of(pod);
    const ip = pod && ipOf(pod);
    if (pod === undefined || why !== undefined || ip === undefined)
      throw new InstallError('INSTALL_NOT_READY', `pod ${namespace}/${role}: ${why ?? 'it has no address'}`);
    return { name: role, node: pod.spec?.nodeName ?? '', ip };
  }

  /** One GET from a pod. @param holdMs how long its connection then stays open */
  async dial(from: Role, url: string, holdMs = 0): Promise<Dialled> {
    return (await this.#ask(from, dialCommand(url, holdMs))) as Dialled;
  }

  /** GETs from a pod until one ends as it should. @returns the last */
  dialUntil(from: Role, url: string, isSo: (seen: Dialled) => boolean): Promise<Dialled> {
    return this.until(() => this.dial(from, url), isSo);
  }

  async lookUp(from: Role, name: string): Promise<{ addresses?: readonly string[]; error?: string }> {
    return (await this.#ask(from, lookUpCommand(name))) as { addresses?: string[]; error?: string };
  }

  /** What the pod says of itself, asked inside it. */
  async show(of: Role, url: string): Promise<unknown> {
    return this.#ask(of, showCommand(url));
  }

  async #ask(pod: Role, command: readonly string[]): Promise<unknown> {
    const { pods, namespace } = this.#options;
    return JSON.parse(await this.#abortable(pods.run(namespace, pod, 'app', command)));
  }

  /** Connections that the ztunnels of a node have open. */
  async connectionsOn(node: string): Promise<SeenConnection[]> {
    const { pods, system } = this.#options;
    const all = await Promise.all(
      (await this.#ztunnelsOn(node)).map(async (name) => {
        const said = await pods.run(system, name, 'ztunnel', showCommand(CONNECTIONS));
        return (JSON.parse(said) as { connections: SeenConnection[] }).connections;
      }),
    );
    return all.flat();
  }

  /** Lines of the access log of a node's ztunnels since a moment; those of refusals are there at every log level but `error`. */
  async accessLog(node: string, since: Date): Promise<Record<string, unknown>[]> {
    const { api, system } = this.#options;
    const query = { container: 'ztunnel', sinceTime: since.toISOString() };
    const all = await Promise.all(
      (await this.#ztunnelsOn(node)).map((name) =>
        api.text(`${collectionPath('v1/Pod', system)}/${name}/log`, query),
      ),
    );
    return all.flatMap((text) => text.split('\n').flatMap(lineOf));
  }

  async #ztunnelsOn(node: string): Promise<string[]> {
    const { api, system } = this.#options;
    const labelSelector = Object.entries(selectorOf('ztunnel'))
      .map(([key, value]) => `${key}=${value}`)
      .join();
    const pods = await api.list<V1Pod>(collectionPath('v1/Pod', system), { labelSelector });
    return pods
      .filter(({ spec, status }) => spec?.nodeName === node && status?.phase === 'Running')
      .map(({ metadata }) => metadata?.name ?? '');
  }

  #throwIfInterrupted(): void {
    if (this.#options.signal.aborted) throw new InstallError('INSTALL_STATE', 'interrupted');
  }

  /** What is waited for goes on, but nobody waits for it any more. */
  async #abortable<T>(waited: Promise<T>): Promise<T> {
    const { signal } = this.#options;
    this.#throwIfInterrupted();
    const ended = new AbortController();
    const aborted = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(new InstallError('INSTALL_STATE', 'interrupted')), {
        signal: ended.signal,
      }),
    );
    try {
      return await Promise.race([waited, aborted]);
    } finally {
      ended.abort();
    }
  }
}

function ipOf({ status }: V1Pod): string | undefined {
  return status?.podIP;
}

function lineOf(line: string): Record<string, unknown>[] {
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    return entry['scope'] === 'access' ? [entry] : [];
  } catch {
    return [];
  }
}

/** A call, for a person. */
export function dialledText(seen: Dialled): string {
  return seen.kind === 'failed' ? errorText(seen.error) : `it was answered with ${seen.status}`;
}
