import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { siblingModule } from '../../lib/package-root.ts';
import {
  GATEWAY,
  HBONE_PORT,
  IP,
  routePath,
  SERVICE_PORT,
  TARGET_PORT,
  TRUST_DOMAIN,
  VIP,
  WAYPOINT_VIP,
} from './plan.ts';
import { Program } from './program.ts';

const CONTROLLER = '127.0.0.1:15012';
const READY = '127.0.0.1:15021';
/** A file of manifests may be 1 MiB long. */
const ROUTES_PER_FILE = 1_000;

/** Loam's side: the controller with a directory of manifests, and the waypoint, both the real programs. */
export class LoamWaypoint {
  readonly waypoint: Program;
  readonly #controller: Program;

  private constructor(controller: Program, waypoint: Program) {
    this.#controller = controller;
    this.waypoint = waypoint;
  }

  /** @param authority the bench's root, which the controller signs with, so that all peers trust each other */
  static async start(
    folder: string,
    authority: { readonly cert: string; readonly key: string },
    routes: number,
  ): Promise<LoamWaypoint> {
    const file = (name: string): string => join(folder, name);
    writeMesh(folder, routes);
    const controller = new Program(folder, 'controller', 'proxy', [
      ...[process.execPath, siblingModule(import.meta.url, '../../controller/main').pathname],
      ...['--manifests', file('manifests'), '--assignments', file('assignments.json')],
      ...['--tokens', file('tokens.json'), '--state', file('state')],
      ...['--root-cert', authority.cert, '--root-key', authority.key],
      ...['--listen', CONTROLLER, '--status', file('controller.sock'), '--log-level', 'warn'],
    ]);
    try {
      const root = file('state/root-cert.pem');
      await controller.until('its root', () => holdsText(root));
      const waypoint = new Program(folder, 'waypoint', 'proxy', [
        ...[process.execPath, siblingModule(import.meta.url, '../../waypoint/main').pathname],
        ...['--gateway', GATEWAY, '--token', file('token'), '--trust-domain', TRUST_DOMAIN],
        ...['--xds-address', `https://${CONTROLLER}`, '--ca-address', `https://${CONTROLLER}`],
        ...['--xds-root', root, '--ca-root', root, '--node', 'node-a', '--cluster-id', 'Kubernetes'],
        ...['--listen', `${IP.proxy}:${HBONE_PORT}`, '--ready', READY, '--workers', '1'],
        ...['--metrics', '127.0.0.1:15020', '--admin', '127.0.0.1:15000', '--log-level', 'warn'],
      ]);
      try {
        await waypoint.until('readiness', () => isReady(folder));
      } catch (error) {
        await waypoint.stop();
        throw error;
      }
      return new LoamWaypoint(controller, waypoint);
    } catch (error) {
      await controller.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.waypoint.stop();
    await this.#controller.stop();
  }
}

function holdsText(path: string): boolean {
  try {
    return readFileSync(path).length > 0;
  } catch {
    return false;
  }
}

async function isReady(folder: string): Promise<boolean> {
  const probe = `fetch('http://${READY}/healthz/ready').then((r)=>process.exit(r.status===200?0:1),()=>process.exit(1))`;
  const program = new Program(folder, 'probe', 'proxy', [process.execPath, '-e', probe]);
  return (await new Promise((resolve) => program.child.once('exit', resolve))) === 0;
}

/** Manifests, assignments and tokens of a mesh of one client, one backend and the waypoint before its Service. */
function writeMesh(folder: string, routes: number): void {
  const file = (name: string): string => join(folder, name);
  for (const name of ['manifests', 'state']) mkdirSync(file(name), { mode: 0o700, recursive: true });
  writeFileSync(
    file('manifests/mesh.yaml'),
    yaml([
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: 'default', labels: { 'loam.dev/dataplane-mode': 'ambient' } },
      },
      ...['client', 'backend'].flatMap((name) => [
        { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'default' } },
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name, namespace: 'default', labels: { app: name } },
          spec: { serviceAccountName: name, containers: [{ name: 'main', image: 'bench' }] },
        },
      ]),
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: {
          name: 'backend',
          namespace: 'default',
          labels: { 'loam.dev/use-waypoint': GATEWAY.split('/')[1] },
        },
        spec: {
          selector: { app: 'backend' },
          ports: [{ name: 'http', port: SERVICE_PORT, targetPort: TARGET_PORT, appProtocol: 'http' }],
        },
      },
      {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'Gateway',
        metadata: { name: GATEWAY.split('/')[1], namespace: 'default' },
        spec: {
          gatewayClassName: 'loam-waypoint',
          listeners: [{ name: 'mesh', port: HBONE_PORT, protocol: 'HBONE' }],
        },
      },
    ]),
  );
  for (let first = 0; first < routes; first += ROUTES_PER_FILE) {
    const count = Math.min(ROUTES_PER_FILE, routes - first);
    const documents = Array.from({ length: count }, (_, i) => route(first + i));
    writeFileSync(file(`manifests/routes-${first}.yaml`), yaml(documents));
  }
  const pod = (ip: string) => ({ ips: [ip], node: 'node-a', ready: true });
  const assignments = {
    pods: { 'default/client': pod(IP.client), 'default/backend': pod(IP.backend) },
    services: { 'default/backend': { clusterIPs: [VIP] } },
    gateways: {
      [GATEWAY]: { clusterIPs: [WAYPOINT_VIP], instances: [{ name: 'waypoint-0', ...pod(IP.proxy) }] },
    },
  };
  writeFileSync(file('assignments.json.new'), JSON.stringify(assignments));
  renameSync(file('assignments.json.new'), file('assignments.json'));
  const token = randomBytes(24).toString('hex');
  writeFileSync(file('tokens.json'), JSON.stringify({ tokens: [{ gateway: GATEWAY, token }] }), {
    mode: 0o600,
  });
  writeFileSync(file('token'), token, { mode: 0o600 });
}

function route(i: number): unknown {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `r${i}`, namespace: 'default' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'backend', port: SERVICE_PORT }],
      rules: [
        {
          matches: [{ path: { type: 'PathPrefix', value: routePath(i) } }],
          backendRefs: [{ name: 'backend', port: SERVICE_PORT }],
        },
      ],
    },
  };
}

/** JSON is YAML: one document a line. */
function yaml(documents: readonly unknown[]): string {
  return documents.map((document) => `---\n${JSON.stringify(document)}\n`).join('');
}
