/** The commands that look at a mesh, as a user of the cluster. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { deployment, idle, namespace, service } from './apps.ts';
import type { TestCluster } from './cluster.ts';
import { AMBIENT } from './installation.ts';
import type { KubeObject } from './resources.ts';

export const MAIN = join(packageRoot(), 'dist', 'cli', 'main.js');

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command to its end. @param kubeconfig of whom; by default who may do all */
export type Look = (args: readonly string[], kubeconfig?: string) => Promise<Said>;

export function lookAt(cluster: TestCluster): Look {
  return (args, kubeconfig = cluster.kubeconfig) =>
    new Promise((resolve) =>
      execFile(
        process.execPath,
        [MAIN, ...args, '--kubeconfig', kubeconfig],
        { maxBuffer: 64 << 20 },
        (error, out, err) => resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
      ),
    );
}

/** A namespace in the mesh with a client, a server on the other node of which one port is denied to everybody, and a {@link viewer}. */
export function greeted(ns: string): readonly KubeObject[] {
  const denied: KubeObject = {
    ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy' },
    metadata: { name: 'no-greeting', namespace: ns },
    spec: {
      selector: { matchLabels: { app: 'server' } },
      action: 'DENY',
      rules: [{ to: [{ operation: { ports: ['7000'] } }] }],
    },
  };
  return [
    namespace(ns, AMBIENT),
    ...viewer(ns),
    deployment(ns, 'server', { node: 'node2' }),
    service(ns, 'server'),
    idle(ns, 'client', { node: 'node1' }),
    denied,
  ];
}

/** An account that may look at pods and Services of its namespace, and at no program. */
export function viewer(ns: string): readonly KubeObject[] {
  return [
    { ...{ apiVersion: 'v1', kind: 'ServiceAccount' }, metadata: { name: 'viewer', namespace: ns } },
    ...viewing(ns, ns, [{ apiGroups: [''], resources: ['pods', 'services'], verbs: ['get', 'list'] }]),
  ];
}

/** Gives the viewer of one namespace rights in another. */
export function viewing(ns: string, where: string, rules: readonly object[]): KubeObject[] {
  return [
    {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role' },
      ...{ metadata: { name: 'viewer', namespace: where }, rules },
    },
    {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding' },
      metadata: { name: 'viewer', namespace: where },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'viewer' },
      subjects: [{ kind: 'ServiceAccount', name: 'viewer', namespace: ns }],
    },
  ];
}

/** Writes the kubeconfig of that account. */
export async function viewerKubeconfig(cluster: TestCluster, ns: string, file: string): Promise<void> {
  const path = `/api/v1/namespaces/${ns}/serviceaccounts/viewer/token`;
  const { status } = await cluster.client.create<{ status: { token: string } }>(path, {
    ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
    spec: { expirationSeconds: 3600 },
  });
  const config = JSON.parse(readFileSync(cluster.kubeconfig, 'utf8')) as { users: { name: string }[] };
  const users = config.users.map(({ name }) => ({ name, user: { token: status.token } }));
  writeFileSync(file, JSON.stringify({ ...config, users }), { mode: 0o600 });
}
