/** What stands behind waypoints in the cluster, and who calls it: the programs of test/mesh/app. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { Driver } from '../../mesh/driver.ts';
import { container, deployment, podSpec, script, SCRIPTS } from './apps.ts';
import type { TestCluster } from './cluster.ts';
import type { KubeObject } from './resources.ts';

/** Where scripts of test/ look for packages. */
const PACKAGES = {
  name: 'packages',
  hostPath: { path: join(packageRoot(), 'node_modules'), type: 'Directory' },
};
const MOUNTS = [
  { name: SCRIPTS.name, mountPath: '/test', readOnly: true },
  { name: PACKAGES.name, mountPath: '/node_modules', readOnly: true },
];
const READY = { tcpSocket: { port: 8080 }, periodSeconds: 1 };
export const USE = 'loam.dev/use-waypoint';

function withPackages(object: KubeObject, command: readonly string[], more: object): KubeObject {
  const spec = object['spec'] as { template: { metadata: object; spec: { nodeSelector?: object } } };
  const { nodeSelector } = spec.template.spec;
  const pod = podSpec([container(command, { volumeMounts: MOUNTS, ...more })], {
    volumes: [SCRIPTS, PACKAGES],
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
  });
  return { ...object, spec: { ...spec, template: { metadata: spec.template.metadata, spec: pod } } };
}

/**
 * A Deployment of app/way-server.mjs, whose pods answer with its name in `x-pod`.
 *
 * @param run label by which Services find it
 * @param labels more of its pods' labels
 */
export function wayServer(
  ns: string,
  name: string,
  run: string,
  labels: Readonly<Record<string, string>> = {},
): KubeObject {
  const object = deployment(ns, name, { node: 'node2', labels: { run, ...labels } });
  return withPackages(object, script('mesh/app/way-server.mjs', name), { readinessProbe: READY });
}

/** A pod for {@link wayDriver}, labelled `app: NAME`. */
export function wayClient(ns: string, name: string, node = 'node1'): KubeObject {
  const wait = ['/usr/local/bin/node', '-e', 'setInterval(() => {}, 1 << 30)'];
  return withPackages(deployment(ns, name, { node }), wait, {});
}

/** app/way-client.mjs in that pod. */
export async function wayDriver(cluster: TestCluster, ns: string, name: string): Promise<Driver> {
  const [pod] = await cluster.readyPods(ns, `app=${name}`);
  assert.ok(pod);
  return Driver.over(cluster.startInPod(pod, script('mesh/app/way-client.mjs')));
}

/** A Service with a port of each kind; `waypoint` is its label, `none` included. */
export function wayService(
  ns: string,
  name: string,
  selector: Readonly<Record<string, string>>,
  waypoint?: string,
): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: ns, labels: waypoint === undefined ? {} : { [USE]: waypoint } },
    spec: {
      selector,
      ports: [
        { name: 'http', port: 80, targetPort: 8080 },
        { name: 'http2', port: 81, targetPort: 8081, appProtocol: 'kubernetes.io/h2c' },
        { name: 'grpc', port: 90, targetPort: 9090 },
        { name: 'tcp', port: 7000 },
      ],
    },
  };
}

export function gateway(
  ns: string,
  name: string,
  replicas?: number,
  labels: Readonly<Record<string, string>> = {},
): KubeObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      ...{ name, namespace: ns, labels },
      annotations: replicas === undefined ? {} : { 'loam.dev/replicas': String(replicas) },
    },
    spec: {
      gatewayClassName: 'loam-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  };
}

/** An HTTPRoute of Service `web`'s port 80 that shares its requests out. @param weights by name of the backend's Service */
export function split(ns: string, weights: Readonly<Record<string, number>>): KubeObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'split', namespace: ns },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'web', port: 80 }],
      rules: [{ backendRefs: Object.entries(weights).map(([name, weight]) => ({ name, port: 80, weight })) }],
    },
  };
}

/** Waits until a Gateway says of its present state that it is in force. */
export function programmed(cluster: TestCluster, ns: string, name: string): Promise<void> {
  return cluster.until(`Gateway ${ns}/${name} is programmed`, async () => {
    const { metadata, status } = await cluster.client.get<{
      metadata: { generation: number };
      status?: { conditions?: { type: string; status: string; observedGeneration: number }[] };
    }>(`/apis/gateway.networking.k8s.io/v1/namespaces/${ns}/gateways/${name}`);
    return (
      status?.conditions?.some(
        ({ type, status: is, observedGeneration }) =>
          type === 'Programmed' && is === 'True' && observedGeneration === metadata.generation,
      ) === true
    );
  });
}
