/** A healthy installation as an API server shows it, to be broken in one place by each test. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiError, type ApiObject, type ClusterApi } from '../../../../cli/install/cluster/api.ts';
import { objectPath } from '../../../../cli/install/cluster/kinds.ts';
import { definitions } from '../../../../cli/install/crds.ts';
import type { CheckSubject } from '../../../../cli/install/check/subject.ts';
import { podLabels, type Manifest } from '../../../../cli/install/render/manifest.ts';
import { objectsOf } from '../../../../cli/install/render/objects.ts';
import { ownVersion } from '../../../../cli/version.ts';
import { valuesOf } from '../../../../cli/install/values.ts';

export const NAMESPACE = 'loam-system';
export const NOW = Date.now();

type Json = Record<string, unknown>;
/** An object that tests write into. */
export type Fake = Manifest & {
  metadata: Json & { labels: Record<string, string> };
  spec: Json;
  status: Json;
};

const READY = [{ type: 'Ready', status: 'True' }];

export class FakeCluster {
  readonly objects = new Map<string, Fake>();
  /** `verb resource` that the user may not. */
  readonly denied = new Set<string>();
  version = { major: '1', minor: '34', gitVersion: 'v1.34.4' };
  /** What programs answer, by pod. */
  readonly agents = new Map<string, unknown>();

  constructor() {
    for (const definition of definitions())
      this.put({ ...definition, status: { conditions: [{ type: 'Established', status: 'True' }] } });
    for (const object of objectsOf({ namespace: NAMESPACE, values: valuesOf([]) })) this.put(object);
    for (const node of ['node1', 'node2']) {
      this.put({
        ...named('v1', 'Node', node),
        metadata: { name: node, labels: { 'kubernetes.io/os': 'linux' } },
        status: {
          conditions: READY,
          nodeInfo: { operatingSystem: 'linux', kernelVersion: '6.8.0-31-generic' },
        },
      });
      this.lease('kube-node-lease', node, node, 4);
      for (const program of ['agent', 'ztunnel'] as const) this.pod(program, node);
      this.agents.set(`agent-${node}`, {
        node,
        problems: [],
        pods: [{ pod: 'shop/web', state: 'verified' }],
        source: { problems: [], leftAlone: [] },
      });
    }
    for (const node of ['node1', 'node2']) this.pod('controller', node);
    this.lease(NAMESPACE, 'loam-controller-leader', 'controller-node1', 2);
    this.put({
      ...named('v1', 'ConfigMap', 'loam-ca-root-cert', NAMESPACE),
      data: { 'root-cert.pem': rootCertificate(3650) },
    });
    this.put({
      ...named('v1', 'Namespace', 'shop'),
      metadata: { name: 'shop', labels: { 'loam.dev/dataplane-mode': 'ambient' } },
    });
  }

  put(object: object): void {
    const manifest = structuredClone(object) as Fake;
    manifest.metadata.labels ??= {};
    this.objects.set(objectPath(manifest), manifest);
  }

  /** An object of the cluster, to be changed. */
  at(apiVersion: string, kind: string, name: string, namespace?: string): Fake {
    const found = this.objects.get(objectPath(named(apiVersion, kind, name, namespace)));
    if (found === undefined) throw new Error(`there is no ${kind} ${name}`);
    return found;
  }

  remove(apiVersion: string, kind: string, name: string, namespace?: string): void {
    if (!this.objects.delete(objectPath(named(apiVersion, kind, name, namespace))))
      throw new Error(`there is no ${kind} ${name}`);
  }

  pod(program: 'controller' | 'agent' | 'ztunnel', node: string): void {
    const name = `${program}-${node}`;
    this.put({
      ...named('v1', 'Pod', name, NAMESPACE),
      metadata: { name, namespace: NAMESPACE, uid: name, labels: podLabels(program) },
      spec: { nodeName: node, containers: [{ name: program, image: 'localhost/loam:dev' }] },
      status: { conditions: READY, containerStatuses: [{ name: program, ready: true, imageID: 'sha256:1' }] },
    });
    if (program !== 'agent') this.agents.set(name, { gates: [] });
  }

  /** A warning about an object of the installation's namespace. */
  warn(uid: string, reason: string, message: string): void {
    this.put({
      ...named('v1', 'Event', `${uid}.${reason}`, NAMESPACE),
      type: 'Warning',
      involvedObject: { uid },
      lastTimestamp: new Date(NOW).toISOString(),
      reason,
      message,
    });
  }

  lease(namespace: string, name: string, holder: string, secondsAgo: number): void {
    this.put({
      ...named('coordination.k8s.io/v1', 'Lease', name, namespace),
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: 15,
        renewTime: new Date(NOW - secondsAgo * 1000).toISOString(),
      },
    });
  }

  /** The API, for who writes to it as well. What is applied is there at once; no controller makes anything of it. */
  get writable(): Pick<ClusterApi, 'find' | 'list' | 'apply' | 'merge' | 'delete'> {
    const { find, list } = this.subject().api;
    return {
      ...{ find, list },
      apply: (path, body) => {
        const before = this.objects.get(path);
        const uid = before?.metadata['uid'] ?? `uid of ${path}`;
        const manifest = structuredClone(body) as Fake;
        this.put({ ...before, ...manifest, metadata: { ...before?.metadata, ...manifest.metadata, uid } });
        return Promise.resolve(this.objects.get(path) as unknown as ApiObject);
      },
      merge: (path, body) => {
        const found = this.objects.get(path);
        if (found === undefined) return Promise.reject(new ApiError(404, `PATCH ${path}: 404`));
        const { labels = {} } = (body as { metadata: { labels?: Record<string, string | null> } }).metadata;
        for (const [key, value] of Object.entries(labels))
          if (value === null) delete found.metadata.labels[key];
          else found.metadata.labels[key] = value;
        return Promise.resolve(found as unknown as ApiObject);
      },
      delete: (path) => Promise.resolve(this.objects.delete(path)),
    };
  }

  subject(installed = true): CheckSubject {
    const values = valuesOf([]) as unknown as Json;
    return {
      api: {
        get: <T>(path: string) =>
          path === '/version' ? Promise.resolve(this.version as T) : this.#need<T>(path),
        find: <T>(path: string) => Promise.resolve(this.objects.get(path) as T | undefined),
        list: <T>(path: string, query: Readonly<Record<string, string>> = {}) =>
          Promise.resolve(this.#list(path, query) as T[]),
        // Programs are then asked by commands in their pods.
        answer: () => Promise.resolve({ status: 403, text: 'forbidden' }),
        create: <T>(_path: string, body: object) => Promise.resolve(this.#review(body) as T),
      },
      pods: {
        run: (_namespace, pod) =>
          this.agents.has(pod)
            ? Promise.resolve(JSON.stringify(this.agents.get(pod)))
            : Promise.reject(new Error('connection refused')),
      },
      namespace: NAMESPACE,
      installed: installed ? { namespace: NAMESPACE, by: 'loam', version: ownVersion(), values } : undefined,
      now: () => NOW,
    };
  }

  #need<T>(path: string): Promise<T> {
    const found = this.objects.get(path);
    if (found === undefined) return Promise.reject(new ApiError(404, `GET ${path}: 404`));
    return Promise.resolve(found as T);
  }

  /** Of one namespace, or of all: `/apis/apps/v1/daemonsets` has also what is below `/apis/apps/v1/namespaces/…/daemonsets`. */
  #list(path: string, { labelSelector = '' }: Readonly<Record<string, string>>): Fake[] {
    const plural = path.slice(path.lastIndexOf('/') + 1);
    const root = path.slice(0, path.lastIndexOf('/'));
    return [...this.objects].flatMap(([at, object]) => {
      const collection = at.slice(0, at.lastIndexOf('/'));
      if (!collection.endsWith(`/${plural}`) || !collection.startsWith(root)) return [];
      const wanted = labelSelector === '' ? [] : labelSelector.split(',').map((each) => each.split('='));
      const labels = object.metadata.labels;
      // `key`, `key=value`, `key!=value`
      return wanted.every(([key = '', value]) =>
        value === undefined
          ? key in labels
          : key.endsWith('!')
            ? labels[key.slice(0, -1)] !== value
            : labels[key] === value,
      )
        ? [object]
        : [];
    });
  }

  #review(body: object): object {
    const { verb, resource } = (body as { spec: { resourceAttributes: { verb: string; resource: string } } })
      .spec.resourceAttributes;
    return { status: { allowed: !this.denied.has(`${verb} ${resource}`) } };
  }
}

function named(apiVersion: string, kind: string, name: string, namespace?: string): Manifest {
  return { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
}

/** A root that is valid from today on, for so many days. */
export function rootCertificate(days: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'loam-root-'));
  try {
    const file = join(folder, 'root.pem');
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-subj',
        '/O=test',
        '-days',
        String(days),
        '-keyout',
        join(folder, 'key.pem'),
        '-out',
        file,
      ],
      { stdio: 'ignore' },
    );
    return readFileSync(file, 'utf8');
  } finally {
    rmSync(folder, { recursive: true });
  }
}
