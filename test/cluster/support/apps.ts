/** The applications of the tests: scripts of the clone, on the Node of Loam's own image. */
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import type { KubeObject } from './resources.ts';

/** A node sees this machine's files, so that no image is made for a script. */
export const SCRIPTS = {
  name: 'scripts',
  hostPath: { path: join(packageRoot(), 'test'), type: 'Directory' },
};
const NODE = '/usr/local/bin/node';

/** The command line of a script of test/, in a container. @param script for example `mesh/app/server.mjs` */
export function script(name: string, ...args: readonly string[]): string[] {
  return [NODE, `/test/${name}`, ...args];
}

export function container(
  command: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> {
  return {
    name: 'app',
    image: 'localhost/loam:dev',
    imagePullPolicy: 'Never',
    command,
    volumeMounts: [{ name: SCRIPTS.name, mountPath: '/test', readOnly: true }],
    ...more,
  };
}

export function podSpec(
  containers: readonly object[],
  more: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> {
  return { containers, volumes: [SCRIPTS], terminationGracePeriodSeconds: 1, ...more };
}

export function namespace(name: string, labels: Readonly<Record<string, string>> = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

export interface AppOptions {
  readonly command?: readonly string[];
  readonly node?: string;
  readonly replicas?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly container?: Readonly<Record<string, unknown>>;
}

/** Waits for the server's own listener, so that a ready pod is one that serves. */
const READY = { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } };

/** A Deployment of the tests' server, or of another command. */
export function deployment(ns: string, name: string, options: AppOptions = {}): KubeObject {
  const { command = script('mesh/app/server.mjs'), node, replicas = 1 } = options;
  const labels = { app: name, ...options.labels };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: ns },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels },
        spec: podSpec([container(command, options.container ?? READY)], {
          ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
        }),
      },
    },
  };
}

/** A client that does nothing until it is told to, in {@link TestCluster.inPod}. */
export function idle(
  ns: string,
  name: string,
  options: Omit<AppOptions, 'command' | 'container'> = {},
): KubeObject {
  return deployment(ns, name, {
    ...options,
    command: [NODE, '-e', 'setInterval(() => {}, 1 << 30)'],
    container: {},
  });
}

export function service(ns: string, name: string, more: Readonly<Record<string, unknown>> = {}): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: ns },
    spec: {
      selector: { app: name },
      ports: [
        { name: 'http', port: 80, targetPort: 8080 },
        { name: 'greeting', port: 7000 },
      ],
      ...more,
    },
  };
}
