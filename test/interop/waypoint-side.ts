import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { siblingModule } from '../../lib/package-root.ts';
import { inPod } from './harness.ts';
import { type ServedPod, until } from './loam-side.ts';

const CONTROLLER = '127.0.0.1:15012';
const READY = '127.0.0.1:15021';
const STOP_MS = 8_000;

export const WAYPOINT = {
  gateway: 'default/way',
  identity: 'spiffe://cluster.local/ns/default/sa/way',
  /** Its own address, that of its Service, and that of the Service that it stands before. */
  ip: '198.19.78.1',
  vip: '198.19.79.1',
  serviceVip: '198.19.79.2',
} as const;

/** A port of the Service `server`, and the server pod's behind it. */
export const SERVICE_PORT = 80;
export const TARGET_PORT = 8080;

/** Adds to the files that `writeMesh` wrote: a Service before the server, its waypoint, and a route that marks responses. */
export function addWaypoint(folder: string): void {
  const file = (name: string): string => join(folder, name);
  const [namespace, name] = WAYPOINT.gateway.split('/');
  const documents = [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'server', namespace, labels: { 'loam.dev/use-waypoint': name } },
      spec: {
        selector: { app: 'server' },
        ports: [{ name: 'http', port: SERVICE_PORT, targetPort: TARGET_PORT, appProtocol: 'http' }],
      },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name, namespace },
      spec: {
        gatewayClassName: 'loam-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'server', namespace },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'server', port: SERVICE_PORT }],
        rules: [
          {
            filters: [
              {
                type: 'ResponseHeaderModifier',
                responseHeaderModifier: { set: [{ name: 'x-through', value: 'way' }] },
              },
            ],
            backendRefs: [{ name: 'server', port: SERVICE_PORT }],
          },
        ],
      },
    },
  ];
  writeFileSync(
    file('manifests/waypoint.yaml'),
    documents.map((document) => `---\n${JSON.stringify(document)}\n`).join(''),
  );
  const assignments = JSON.parse(readFileSync(file('assignments.json'), 'utf8')) as Record<string, unknown>;
  assignments['services'] = { 'default/server': { clusterIPs: [WAYPOINT.serviceVip] } };
  assignments['gateways'] = {
    [WAYPOINT.gateway]: {
      clusterIPs: [WAYPOINT.vip],
      instances: [{ name: 'way-0', ips: [WAYPOINT.ip], node: 'node-a', ready: true }],
    },
  };
  writeFileSync(file('assignments.json'), JSON.stringify(assignments));
  const { tokens } = JSON.parse(readFileSync(file('tokens.json'), 'utf8')) as { tokens: unknown[] };
  const token = randomBytes(24).toString('hex');
  tokens.push({ gateway: WAYPOINT.gateway, token });
  writeFileSync(file('tokens.json'), JSON.stringify({ tokens }), { mode: 0o600 });
  writeFileSync(file('token-waypoint'), token, { mode: 0o600 });
}

/**
 * Loam's waypoint in a namespace of its own, with a link to each pod of a pair of the harness, and a controller of its
 * own beside it: given the same files and authority, it says what the nodes' controllers say.
 */
export class WaypointSide {
  readonly #netns: string;
  readonly #folder: string;
  readonly #children: ChildProcess[] = [];

  constructor(pair: string, folder: string) {
    this.#netns = `li-${pair}-w`;
    this.#folder = join(folder, 'waypoint');
  }

  /** Joins it to the pods by routes to its one address, and gives the client's a way to the Service's. */
  link(client: ServedPod, server: ServedPod): void {
    this.#removeNetns();
    ip('netns', 'add', this.#netns);
    this.#ip('link', 'set', 'lo', 'up');
    this.#ip('addr', 'add', `${WAYPOINT.ip}/32`, 'dev', 'lo');
    for (const pod of [client, server]) {
      const peer = `to-${pod.side}`;
      inPod(pod, [
        ...['ip', 'link', 'add', 'way', 'type', 'veth'],
        ...['peer', 'name', peer, 'netns', `/run/netns/${this.#netns}`],
      ]);
      // The harness's rules redirect a plaintext connection to an address of the interface that it came by.
      inPod(pod, ['ip', 'addr', 'add', `${pod.ip}/32`, 'dev', 'way']);
      inPod(pod, ['ip', 'link', 'set', 'way', 'up']);
      this.#ip('link', 'set', peer, 'up');
      inPod(pod, ['ip', 'route', 'add', WAYPOINT.ip, 'dev', 'way', 'src', pod.ip]);
      this.#ip('route', 'add', pod.ip, 'dev', peer, 'src', WAYPOINT.ip);
    }
    inPod(client, ['ip', 'route', 'add', WAYPOINT.serviceVip, 'dev', 'way', 'src', client.ip]);
  }

  /** @param mesh the folder with the mesh's files */
  async start(mesh: string, ca: { readonly cert: string; readonly key: string }): Promise<void> {
    const state = join(this.#folder, 'state');
    mkdirSync(state, { recursive: true, mode: 0o700 });
    const root = join(state, 'root-cert.pem');
    this.#spawn('controller', [
      ...[process.execPath, siblingModule(import.meta.url, '../../controller/main').pathname],
      ...['--manifests', join(mesh, 'manifests'), '--assignments', join(mesh, 'assignments.json')],
      ...['--tokens', join(mesh, 'tokens.json'), '--state', state],
      ...['--root-cert', ca.cert, '--root-key', ca.key],
      ...['--listen', CONTROLLER, '--status', join(this.#folder, 'controller.sock')],
    ]);
    await until("the waypoint's controller to write its root", () => this.read('state/root-cert.pem') !== '');
    this.#spawn('waypoint', [
      ...[process.execPath, siblingModule(import.meta.url, '../../waypoint/main').pathname],
      ...['--gateway', WAYPOINT.gateway, '--token', join(mesh, 'token-waypoint'), '--node', 'node-a'],
      ...['--xds-address', `https://${CONTROLLER}`, '--ca-address', `https://${CONTROLLER}`],
      ...['--xds-root', root, '--ca-root', root, '--cluster-id', 'Kubernetes'],
      ...['--trust-domain', 'cluster.local', '--listen', `${WAYPOINT.ip}:15008`, '--workers', '1'],
      ...['--admin', '127.0.0.1:15000', '--metrics', '127.0.0.1:15020', '--ready', READY],
    ]);
    await until(`the waypoint to be ready (log: ${join(this.#folder, 'waypoint.log')})`, () => {
      try {
        this.run('curl', '-sSf', '-o', '/dev/null', `http://${READY}/healthz/ready`);
        return true;
      } catch {
        return false;
      }
    });
  }

  /** What a program of this side has written, or the empty string while there is nothing. */
  read(name: string): string {
    try {
      return readFileSync(join(this.#folder, name), 'utf8');
    } catch {
      return '';
    }
  }

  /** Runs a command beside the waypoint; throws with its errors when it fails. */
  run(...command: string[]): void {
    execFileSync('nsenter', [`--net=/run/netns/${this.#netns}`, ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await gone;
      clearTimeout(killer);
    }
    this.#removeNetns();
  }

  #removeNetns(): void {
    if (existsSync(`/run/netns/${this.#netns}`)) ip('netns', 'del', this.#netns);
  }

  #ip(...args: string[]): void {
    ip('-n', this.#netns, ...args);
  }

  #spawn(name: string, command: readonly string[]): void {
    const log = openSync(join(this.#folder, `${name}.log`), 'a');
    const child = spawn('nsenter', [`--net=/run/netns/${this.#netns}`, '--', ...command], {
      ...{ cwd: this.#folder, stdio: ['ignore', log, log] },
    });
    closeSync(log);
    this.#children.push(child);
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
