import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { V1DaemonSet, V1Deployment, V1PodTemplateSpec } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { objectsOf } from '../../cli/install/render/objects.ts';
import { valuesOf } from '../../cli/install/values.ts';
import { netnsName, netnsPath } from '../../cli/local/names.ts';
import {
  CONTROLLER_METRICS_PORT,
  WAYPOINT_METRICS_PORT,
  ZTUNNEL_METRICS_PORT,
} from '../../cli/local/programs.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { openNetns } from '../../lib/linux/netns.ts';
import { connectInNetns } from '../../lib/linux/socket.ts';
import { waypointObjects } from '../../controller/platform/kubernetes/waypoints/objects.ts';
import type { Mesh } from '../mesh/harness.ts';
import { MONITORING } from '../support/dashboards.ts';

const NAMESPACE = 'loam-system';
const ASK_MS = 30_000;

/** A port of 127.0.0.1 inside a network namespace. */
interface Endpoint {
  readonly netns: string;
  readonly port: number;
}

/** A pod as Prometheus' discovery in a cluster finds it; where it answers in truth is in the local mesh. */
interface DiscoveredPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly template: V1PodTemplateSpec;
  /** undefined: nowhere. */
  readonly endpoint: Endpoint | undefined;
}

interface ScrapeJob {
  readonly job_name: string;
  readonly kubernetes_sd_configs?: readonly { readonly namespaces?: { readonly names: readonly string[] } }[];
  readonly [setting: string]: unknown;
}

/**
 * deploy/monitoring/prometheus.yaml for a local mesh. Of it, only the discovery is another: Debian's Prometheus has none of
 * Kubernetes, so that files say what it would have found: our pods, with labels and annotations as they are installed, and one
 * of somebody else. All else, the relabelling above all, is as in a cluster.
 */
export class ScrapedMesh implements AsyncDisposable {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #pods: readonly DiscoveredPod[];
  /** Of each pod's metrics, by its name. */
  readonly #addresses = new Map<string, string>();

  constructor(
    mesh: Mesh,
    nodes: readonly string[],
    waypoint: { readonly namespace: string; readonly name: string },
  ) {
    const installed = objectsOf({ namespace: NAMESPACE, values: valuesOf([]) });
    const templateOf = (name: string): V1PodTemplateSpec => {
      const found = installed.find(
        (each) => each.metadata.name === name && 'spec' in each && each.kind !== 'Service',
      );
      const template = (found as unknown as V1Deployment | V1DaemonSet | undefined)?.spec?.template;
      if (template === undefined) throw new Error(`no ${name} is installed`);
      return template;
    };
    const [node = 'node-a'] = nodes;
    const inNetns = (role: Parameters<typeof netnsName>[1], port: number): Endpoint => ({
      ...{ netns: netnsName(mesh.name, role), port },
    });
    this.#pods = [
      {
        ...{ namespace: NAMESPACE, name: 'loam-controller-1', node, template: templateOf('loam-controller') },
        endpoint: inNetns({ kind: 'control' }, CONTROLLER_METRICS_PORT),
      },
      ...nodes.map((each) => ({
        ...{
          namespace: NAMESPACE,
          name: `loam-ztunnel-${each}`,
          node: each,
          template: templateOf('loam-ztunnel'),
        },
        endpoint: inNetns({ kind: 'node', node: each }, ZTUNNEL_METRICS_PORT),
      })),
      {
        ...{ ...waypoint, name: `${waypoint.name}-1`, node, template: waypointTemplate(waypoint) },
        endpoint: inNetns({ kind: 'waypoint', ...waypoint, index: 0 }, WAYPOINT_METRICS_PORT),
      },
      {
        ...{ namespace: waypoint.namespace, name: 'stranger', node },
        template: {
          metadata: { annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '15020' } },
          spec: { containers: [{ name: 'app', ports: [{ name: 'metrics', containerPort: 15_020 }] }] },
        },
        endpoint: undefined,
      },
    ];
  }

  /** The configuration. @param folder where the files of its targets are written */
  async configuration(folder: string): Promise<object> {
    mkdirSync(folder, { recursive: true });
    const text = readFileSync(join(MONITORING, 'prometheus.yaml'), 'utf8');
    const { scrape_configs: jobs, ...rest } = parse(text) as { scrape_configs: ScrapeJob[] };
    const found: { namespace: string; targets: string[]; labels: Record<string, string> }[] = [];
    for (const pod of this.#pods)
      for (const [port, address] of await this.#ports(pod))
        found.push({ namespace: pod.namespace, targets: [address], labels: metaLabels(pod, port) });
    return {
      ...rest,
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: [join(MONITORING, 'rules', '*.yaml')],
      scrape_configs: jobs.map(({ kubernetes_sd_configs: discovery = [], ...job }) => {
        const [names] = discovery.map(({ namespaces }) => namespaces?.names);
        const file = join(folder, `${job.job_name}.json`);
        const groups = found
          .filter(({ namespace }) => names === undefined || names.includes(namespace))
          .map(({ targets, labels }) => ({ targets, labels }));
        writeFileSync(file, JSON.stringify(groups));
        return { ...job, scrape_interval: '2s', scrape_timeout: '2s', file_sd_configs: [{ files: [file] }] };
      }),
    };
  }

  /** A page of metrics as the program itself shows it. Only after its configuration was made. */
  async page(
    pod: 'controller' | 'ztunnel' | 'waypoint',
    path: string,
    accept: string,
  ): Promise<{ type: string; text: string }> {
    const found = this.#pods.find(
      ({ name }) => name.includes(pod) || (pod === 'waypoint' && name.startsWith('way')),
    );
    if (found === undefined) throw new Error(pod);
    const url = `http://${this.#addresses.get(found.name) ?? ''}${path}`;
    const response = await fetch(url, { headers: { accept }, signal: AbortSignal.timeout(ASK_MS) });
    return { type: response.headers.get('content-type') ?? '', text: await response.text() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
    await Promise.resolve();
  }

  /** For each port of the pod's containers an address on the host; the one of the metrics leads into the mesh. */
  async #ports({ name: pod, template, endpoint }: DiscoveredPod): Promise<[port: string, address: string][]> {
    const ports = template.spec?.containers.flatMap(({ ports: all = [] }) => all) ?? [];
    const all: [string, string][] = [];
    for (const { name = '' } of ports) {
      if (name !== 'metrics' || endpoint === undefined) {
        all.push([name, '127.0.0.1:1']);
        continue;
      }
      const server = createServer((socket) => this.#lead(socket, endpoint)).listen(0, '127.0.0.1');
      this.#servers.push(server);
      await once(server, 'listening');
      const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      this.#addresses.set(pod, address);
      all.push([name, address]);
    }
    return all;
  }

  /** Byte by byte, so that program and Prometheus agree on the format as they do without us. */
  #lead(socket: Socket, { netns, port }: Endpoint): void {
    const fd = openNetns(netnsPath(netns));
    let onward: Socket;
    try {
      onward = connectInNetns(fd, '127.0.0.1', port);
    } finally {
      closeFd(fd);
    }
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#sockets.delete(one);
        other.end();
      });
      one.pipe(other);
    }
  }
}

function waypointTemplate({
  namespace,
  name,
}: {
  readonly namespace: string;
  readonly name: string;
}): V1PodTemplateSpec {
  const objects = waypointObjects(
    { namespace, name, uid: 'u', annotations: {} },
    {
      ...{
        image: 'loam',
        controller: 'https://loam-controller.loam-system.svc:15012',
        tokenAudience: 'loam',
      },
      ...{ trustDomain: 'cluster.local', clusterId: 'Kubernetes' },
    },
  );
  const deployment = objects.find(({ object }) => object.kind === 'Deployment')?.object;
  return (deployment as unknown as V1Deployment).spec?.template as V1PodTemplateSpec;
}

/** What the discovery of Kubernetes says of a pod's port, as far as it is asked here. */
function metaLabels(
  { namespace, name, node, template }: DiscoveredPod,
  port: string,
): Record<string, string> {
  const meta = '__meta_kubernetes';
  const { labels = {}, annotations = {} } = template.metadata ?? {};
  const named = (what: string, all: Readonly<Record<string, string>>): [string, string][] =>
    Object.entries(all).map(([key, value]) => [
      `${meta}_pod_${what}_${key.replace(/[^a-zA-Z0-9_]/g, '_')}`,
      value,
    ]);
  return {
    [`${meta}_namespace`]: namespace,
    [`${meta}_pod_name`]: name,
    [`${meta}_pod_node_name`]: node,
    [`${meta}_pod_phase`]: 'Running',
    [`${meta}_pod_container_port_name`]: port,
    ...Object.fromEntries([...named('label', labels), ...named('annotation', annotations)]),
  };
}
