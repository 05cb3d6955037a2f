import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fromBinary } from '@bufbuild/protobuf';
import { ResourceSchema } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { decodeEgress } from '../../lib/mesh/egress/decode.ts';
import { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { ConfigStore, type NamedResource } from '../../lib/mesh/waypoint/config-store.ts';
import { Subscription, type AnySubscription } from '../../lib/mesh/xds/subscription.ts';
import { XdsClient, type XdsNode } from '../../lib/mesh/xds/xds-client.ts';
import { askJson } from '../local/http.ts';
import { entryOf, ownInstallation } from '../local/installation.ts';
import { meshPaths } from '../local/paths.ts';
import { CLUSTER_ID, meshEnvironment, TRUST_DOMAIN } from '../local/programs.ts';
import { supervisorReport, type ControllerStatus } from '../local/status.ts';
import { MeshError } from '../mesh/errors.ts';
import type { MeshReader } from '../mesh/reader.ts';
import type { NodeState, WaypointState } from '../mesh/stores.ts';
import { World } from '../why/world.ts';
import { copyWithProposal, type Proposal } from './trial-manifests.ts';

const EGRESS_TYPE = 'type.googleapis.com/loam.egress.v1.Resource';
const WAYPOINT_TYPE = 'type.googleapis.com/loam.waypoint.v1.Resource';
const PATIENCE_MS = 180_000;
/** Of its log, in an error. */
const MAX_SAID = 600;
const SILENT = { info: (): void => undefined, warn: (): void => undefined, debug: (): void => undefined };

/**
 * The mesh as it would be with what is proposed: a controller of its own, on a copy of the manifests, tells each node and waypoint
 * by xDS what it would go by. Nothing of the mesh itself is touched.
 *
 * @throws MeshError MESH_INPUT when what is proposed is rejected, MESH_ANSWER when the controller does not come up
 */
export async function worldWith(
  mesh: string,
  reader: MeshReader,
  present: World,
  proposal: Proposal,
): Promise<World> {
  const { inventory } = present;
  const folder = mkdtempSync(join(tmpdir(), 'loam-trial-'));
  let controller: ChildProcess | undefined;
  try {
    const { manifests } = await supervisorReport(mesh, PATIENCE_MS);
    const files = copyWithProposal(manifests, join(folder, 'manifests'), proposal);
    copyFileSync(meshPaths(mesh).assignments, join(folder, 'assignments.json'));
    const tokens = [
      ...inventory.nodes.map((node) => ({ node, token: randomBytes(32).toString('hex') })),
      ...[...new Set(inventory.waypoints.map(({ namespace, gateway }) => `${namespace}/${gateway}`))].map(
        (gateway) => ({ gateway, token: randomBytes(32).toString('hex') }),
      ),
    ];
    writeFileSync(join(folder, 'tokens.json'), JSON.stringify({ tokens }), { mode: 0o600 });
    const started = startController(folder);
    controller = started.child;
    const address = `https://127.0.0.1:${await started.port}`;
    const status = (await askJson(
      { socketPath: join(folder, 'status.sock') },
      '/v1/status',
      PATIENCE_MS,
    )) as ControllerStatus;
    refuseRejected(status, files);
    const tell = (holder: string, token: string): Told => {
      const tokenFile = join(folder, `token-${holder.replaceAll('/', '_')}`);
      writeFileSync(tokenFile, token, { mode: 0o600 });
      return { address, rootFile: join(folder, 'state', 'root-cert.pem'), tokenFile };
    };
    const nodes = new Map<string, NodeState>();
    const waypoints = new Map<string, WaypointState>();
    await Promise.all([
      ...inventory.nodes.map(async (node) => {
        const state = await present.node(node);
        const { token = '' } = tokens.find((each) => 'node' in each && each.node === node) ?? {};
        if (!('absent' in state)) nodes.set(node, await nodeWith(state, tell(node, token)));
      }),
      ...inventory.waypoints.map(async ({ namespace, gateway, instance }) => {
        const state = await present.waypointNamed(namespace, instance);
        const key = `${namespace}/${gateway}`;
        const { token = '' } = tokens.find((each) => 'gateway' in each && each.gateway === key) ?? {};
        if (!('absent' in state))
          waypoints.set(`${namespace}/${instance}`, await waypointWith(state, tell(key, token)));
      }),
    ]);
    return new World(reader, inventory, { nodes, waypoints });
  } finally {
    await ended(controller);
    rmSync(folder, { recursive: true, force: true });
  }
}

function startController(folder: string): { child: ChildProcess; port: Promise<number> } {
  const installation = ownInstallation();
  const entry = entryOf(installation, 'controller');
  if (entry === undefined) throw new MeshError('MESH_STATE', 'this installation has no controller');
  const child = spawn(
    installation.node,
    [
      entry,
      ...['--manifests', join(folder, 'manifests')],
      ...['--assignments', join(folder, 'assignments.json')],
      ...['--state', join(folder, 'state')],
      ...['--listen', '127.0.0.1:0'],
      ...['--status', join(folder, 'status.sock')],
      ...['--tokens', join(folder, 'tokens.json')],
      ...['--trust-domain', TRUST_DOMAIN, '--cluster-id', CLUSTER_ID],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: meshEnvironment('') },
  );
  return { child, port: portOf(child) };
}

/** Its log says where it serves. @throws MeshError MESH_ANSWER when it ends before */
async function portOf(child: ChildProcess): Promise<number> {
  const said: string[] = [];
  child.stderr?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const failed = new Promise<never>((_, reject) => {
    const fail = (how: string): void =>
      reject(
        new MeshError(
          'MESH_ANSWER',
          `a controller for the proposal ${how}: ${said.slice(-2).join(' ').slice(0, MAX_SAID).trim()}`,
        ),
      );
    child.once('exit', () => fail('ended'));
    child.once('error', ({ message }) => fail(`did not start (${message})`));
    setTimeout(() => fail(`did not serve within ${PATIENCE_MS / 1000} s`), PATIENCE_MS).unref();
  });
  // Whoever loses the race is not listened to any more.
  failed.catch(() => undefined);
  const serving = (async (): Promise<number> => {
    if (child.stdout === null) return failed;
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(line);
      const port = servingPort(line);
      if (port !== undefined) {
        child.stdout.resume();
        return port;
      }
    }
    return failed;
  })();
  return Promise.race([serving, failed]);
}

function servingPort(line: string): number | undefined {
  try {
    const { msg, port } = JSON.parse(line) as { readonly msg?: unknown; readonly port?: unknown };
    return msg === 'serving' && typeof port === 'number' ? port : undefined;
  } catch {
    return undefined;
  }
}

function refuseRejected({ objects, files: states }: ControllerStatus, files: readonly string[]): void {
  const mine = (file: string): boolean => files.some((each) => file.endsWith(each));
  const wrong = [
    ...states.flatMap(({ file, error }) => (error !== undefined && mine(file) ? [error] : [])),
    ...states.flatMap(({ file, problems = [] }) =>
      mine(file)
        ? problems
            .filter(({ severity }) => severity === 'error')
            .map(({ field, message, allowed }) =>
              [field, message, allowed && `allowed: ${allowed}`].filter(Boolean).join(': '),
            )
        : [],
    ),
    ...objects
      .filter(({ state, file }) => state === 'rejected' && mine(file))
      .map(({ kind, namespace, name, field, message, allowed }) =>
        [`${kind} ${namespace}/${name}`, field, message, allowed && `allowed: ${allowed}`]
          .filter(Boolean)
          .join(': '),
      ),
  ];
  const [first] = wrong;
  if (first !== undefined)
    throw new MeshError(
      'MESH_INPUT',
      `what is proposed would be rejected: ${[...new Set(wrong)].join('; ')}`,
    );
}

interface Told {
  readonly address: string;
  readonly rootFile: string;
  readonly tokenFile: string;
}

async function nodeWith(present: NodeState, told: Told): Promise<NodeState> {
  const workloads = new WorkloadStore();
  const policies = new PolicyStore();
  const egress = new EgressStore();
  await firstState(told, nodeOf('ztunnel', present.node, present.node), workloads, policies, [
    new Subscription({
      typeUrl: EGRESS_TYPE,
      decode: (name, bytes) => ({ value: decodeEgress(name, bytes), errors: [] }),
      apply: (delta) => egress.apply(delta),
    }),
  ]);
  return { ...present, workloads, policies, egress: present.egress === undefined ? undefined : egress };
}

async function waypointWith(present: WaypointState, told: Told): Promise<WaypointState> {
  const workloads = new WorkloadStore();
  const policies = new PolicyStore();
  const config = new ConfigStore();
  await firstState(told, nodeOf('waypoint', present.gateway.replace('/', '.'), ''), workloads, policies, [
    new Subscription<NamedResource>({
      typeUrl: WAYPOINT_TYPE,
      decode: (name, bytes) => ({ value: { name, resource: fromBinary(ResourceSchema, bytes) }, errors: [] }),
      apply: (delta) => config.apply(delta),
    }),
  ]);
  return { ...present, workloads, policies, config };
}

function nodeOf(program: string, name: string, node: string): XdsNode {
  return {
    id: `${program}~0.0.0.0~${name}~trial.svc.${TRUST_DOMAIN}`,
    metadata: { NODE_NAME: node, CLUSTER_ID },
  };
}

async function firstState(
  told: Told,
  node: XdsNode,
  workloads: WorkloadStore,
  policies: PolicyStore,
  more: readonly AnySubscription[],
): Promise<void> {
  let client: XdsClient | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(
        () => reject(new MeshError('MESH_ANSWER', `the controller for the proposal told ${node.id} nothing`)),
        PATIENCE_MS,
      );
      client = new XdsClient({
        ...told,
        ...{ clusterId: CLUSTER_ID, node, more, log: SILENT },
        onAddresses: (delta) => workloads.apply(delta),
        onPolicies: (delta) => policies.apply(delta),
        onReady: () => {
          clearTimeout(late);
          resolve();
        },
      });
      client.start();
    });
  } finally {
    await client?.stop();
  }
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const hard = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await over;
  clearTimeout(hard);
}
