/** The mesh as it would be: what a controller of this command's own would tell nodes and waypoints. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import { askJson } from '../local/http.ts';
import { fieldText } from '../local/problem-text.ts';
import type { ControllerStatus, ManifestProblem } from '../local/status.ts';
import { ClusterReader } from '../mesh/cluster/reader.ts';
import { MeshError } from '../mesh/errors.ts';
import { LocalReader } from '../mesh/local-reader.ts';
import type { MeshInventory, MeshReader } from '../mesh/reader.ts';
import { complain } from '../output/say.ts';
import { World, type Proposed } from '../why/world.ts';
import type { Proposal } from './proposal.ts';
import { followTrial, type Told, type TrialClient } from './trial-clients.ts';
import { clusterTrial } from './trial-cluster.ts';
import { startTrial, TRIAL_PATIENCE_MS, type Trial, trialPaths } from './trial-controller.ts';
import { localTrial } from './trial-manifests.ts';

/** Streams of the trial's controller that are open at a time. */
const AT_ONCE = 4;
const ASK_AGAIN_MS = 100;

/**
 * The mesh as it would be with what is proposed: a controller of its own, on a copy of the mesh's objects, tells each node and
 * waypoint by xDS what it would go by. Nothing of the mesh itself is touched.
 *
 * @param namespace of what is proposed without one, in a cluster; by default the kubeconfig's
 * @throws MeshError MESH_INPUT when what is proposed is rejected, MESH_RIGHTS when the user may not read what it is compiled with,
 *   MESH_ANSWER when the controller does not come up
 */
export async function worldWith(
  reader: MeshReader,
  present: World,
  proposal: Proposal,
  namespace?: string,
): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'loam-trial-'));
  try {
    const { inventory } = present;
    const trial = await prepare(reader, present, proposal, { folder, namespace });
    for (const line of trial.passedOver) complain(`loam: passed over: ${line}`);
    const clients = [
      ...inventory.nodes.map((name): TrialClient => ({ kind: 'node', name })),
      ...gatewaysOf(inventory).map((name): TrialClient => ({ kind: 'gateway', name })),
    ].map((who) => ({ ...who, token: randomBytes(32).toString('hex') }));
    const paths = trialPaths(folder);
    const tokens = clients.map(({ kind, name, token }) => ({ [kind]: name, token }));
    writeFileSync(paths.tokens, JSON.stringify({ tokens }), { mode: 0o600 });
    await using controller = await startTrial(folder, trial);
    const status = async (): Promise<ControllerStatus> =>
      (await askJson({ socketPath: paths.status }, '/v1/status', TRIAL_PATIENCE_MS)) as ControllerStatus;
    refuseRejected(await status(), trial.isProposed);
    const proposed = await follow(inventory, (who) => {
      const own = clients.find(({ kind, name }) => kind === who.kind && name === who.name);
      const tokenFile = join(folder, `token-${who.kind}-${who.name.replaceAll('/', '_')}`);
      writeFileSync(tokenFile, own?.token ?? '', { mode: 0o600 });
      return {
        address: `https://127.0.0.1:${controller.port}`,
        ...{ rootFile: join(paths.state, 'root-cert.pem'), tokenFile, mesh: trial.mesh },
        complete: () => untilAllTold(status, who),
      };
    });
    return new World(reader, inventory, { present, ...proposed });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function prepare(
  reader: MeshReader,
  present: World,
  proposal: Proposal,
  { folder, namespace }: { readonly folder: string; readonly namespace: string | undefined },
): Promise<Trial> {
  if (reader instanceof LocalReader) return localTrial(reader.mesh, proposal, folder);
  if (!(reader instanceof ClusterReader))
    throw new MeshError('MESH_STATE', `a proposal cannot be tried on ${reader.name}`);
  let why = 'it has none';
  for (const node of present.inventory.nodes) {
    const state = await present.node(node);
    if (!('absent' in state)) return clusterTrial(reader, state, proposal, { folder, namespace });
    why = state.absent;
    // What one node does not tell for want of a right, no other does.
    if (present.withheld.length > 0) break;
  }
  throw new MeshError(
    present.withheld.length > 0 ? 'MESH_RIGHTS' : 'MESH_STATE',
    `no node of ${reader.name} can be asked: ${why}`,
  );
}

function gatewaysOf({ waypoints }: MeshInventory): string[] {
  return [...new Set(waypoints.map(({ namespace, gateway }) => `${namespace}/${gateway}`))];
}

/** All see the same addresses and L4 policies; each node its own rules at the source, each waypoint what is for its Gateway. */
async function follow(
  inventory: MeshInventory,
  toldAs: (who: TrialClient) => Told,
): Promise<Omit<Proposed, 'present'>> {
  const trial = followTrial(toldAs);
  const [first] = inventory.nodes;
  if (first === undefined) throw new MeshError('MESH_STATE', 'the mesh has no node');
  const all = await trial.all(first);
  const rules = new Map<string, EgressStore>();
  await inTurn(inventory.nodes, async (node) => void rules.set(node, await trial.egress(node)));
  const configs = new Map<string, ConfigStore>();
  await inTurn(
    gatewaysOf(inventory),
    async (gateway) => void configs.set(gateway, await trial.waypoint(gateway)),
  );
  return {
    // One that does not follow rules at the source would not follow these either.
    node: (state) => ({ ...state, ...all, egress: state.egress && rules.get(state.node) }),
    waypoint: (state) => ({ ...state, ...all, config: configs.get(state.gateway) ?? new ConfigStore() }),
  };
}

async function inTurn<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of left) await work(item);
    }),
  );
}

/** A large state comes in parts: that it is all is what the controller knows. @throws MeshError MESH_ANSWER */
async function untilAllTold(
  status: () => Promise<ControllerStatus>,
  { kind, name }: TrialClient,
): Promise<void> {
  const giveUp = Date.now() + TRIAL_PATIENCE_MS;
  for (;;) {
    const { generation, nodes, gateways = [] } = await status();
    const found =
      kind === 'node'
        ? nodes.find(({ node }) => node === name)
        : gateways.find(({ gateway }) => gateway === name);
    const [nack] = found?.nacks ?? [];
    if (nack !== undefined)
      throw new MeshError('MESH_INPUT', `what is proposed would be refused by ${kind} ${name}: ${nack}`);
    if (generation > 0 && (found?.ackedGeneration ?? 0) >= generation) return;
    if (Date.now() > giveUp)
      throw new MeshError('MESH_ANSWER', `the controller for the proposal did not tell ${kind} ${name} all`);
    await sleep(ASK_AGAIN_MS);
  }
}

/** Says what is wrong with it, and not what would be in force in its place. @throws MeshError MESH_INPUT */
function refuseRejected({ objects, files }: ControllerStatus, isProposed: (file: string) => boolean): void {
  const problems = files
    .filter(({ file }) => isProposed(file))
    .flatMap(({ file, error, problems: all = [] }): readonly ManifestProblem[] => {
      const errors = all.filter(({ severity }) => severity === 'error');
      return errors.length > 0 || error === undefined
        ? errors
        : [{ file, severity: 'error', message: error }];
    });
  const told = new Set(problems.flatMap(({ object }) => (object === undefined ? [] : [nameText(object)])));
  const wrong = [
    ...problems.map(({ object, ...problem }) =>
      [object === undefined ? undefined : nameText(object), fieldText(problem)]
        .filter((part) => part !== undefined)
        .join(': '),
    ),
    ...objects
      .filter(({ state, file }) => state === 'rejected' && isProposed(file))
      .filter((object) => !told.has(nameText(object)))
      .map((object) => `${nameText(object)}: ${fieldText(object)}`),
  ];
  if (wrong.length > 0)
    throw new MeshError('MESH_INPUT', `what is proposed would be rejected: ${wrong.join('; ')}`);
}

function nameText({ kind, namespace, name }: { kind: string; namespace: string; name: string }): string {
  return `${kind} ${namespace === '' ? name : `${namespace}/${name}`}`;
}
