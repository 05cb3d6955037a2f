import { spiffeUri, type Identity } from '../../lib/spiffe.ts';
import { ILLEGAL_PORTS } from '../../lib/mesh/outbound/legal-target.ts';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import { evaluate, type ConnectionFacts } from '../../lib/mesh/policy/evaluate.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import type { MeshPod } from '../mesh/reader.ts';
import type { NodeState } from '../mesh/stores.ts';
import type { Trail, Way } from './model.ts';
import { allowedAtPod } from './whom-allowed.ts';
import { isInMesh, type World } from './world.ts';

/** Who arrives at a pod, and for what. */
export interface Arrival {
  readonly target: HostPort;
  readonly sourceIp: string;
}

/** A connection that comes through a tunnel: what the pod's own node says to it. */
export async function arriveByHbone(
  world: World,
  trail: Trail,
  workload: Workload,
  arrival: Arrival & { readonly identity: Identity },
): Promise<Way> {
  const { target, identity } = arrival;
  const pod = world.podNamed(workload.namespace, workload.name) ?? world.podAt(target.ip);
  const hopped = trail.hop({
    by: 'hbone',
    to: pod === undefined ? hostPortText(target) : `pod ${keyOf(pod)}`,
    clientIdentity: spiffeUri(identity),
    serverIdentity: spiffeUri(workload.identity),
  });
  if (pod === undefined)
    return hopped.unreachable(workload.uid, `no pod has the address ${target.ip} any more`);
  const where = whereOf(pod);
  const ended = hopped.knows({ endpoint: `pod ${keyOf(pod)}`, address: hostPortText(target) });
  const kernel = await world.kernel(pod);
  if (!kernel.enrolled)
    return ended.unreachable(
      where,
      'it is dialled through a tunnel, and the kernel does not steer its port 15008: it is not enrolled',
    );
  const state = await world.node(pod.node);
  if ('absent' in state)
    return ended.unreachable(where, `its node's ztunnel does not answer: ${state.absent}`);
  const problem = whyNotServed(state, pod);
  if (problem !== undefined) return ended.unreachable(where, problem);
  return judge(ended, state, pod, {
    sourceIdentity: identity,
    sourceIp: arrival.sourceIp,
    destIp: target.ip,
    destPort: target.port,
  });
}

/** A connection that comes without a tunnel: to a pod of the mesh, to one outside of it, or to anybody else. */
export async function arrivePlain(world: World, trail: Trail, arrival: Arrival): Promise<Way> {
  const { target, sourceIp } = arrival;
  const pod = world.podAt(target.ip);
  const to = pod === undefined ? hostPortText(target) : `pod ${keyOf(pod)}`;
  const hopped = trail.hop({ by: 'plain', to }).knows({ endpoint: to, address: hostPortText(target) });
  if (pod === undefined) return hopped.note(to, 'outside of the mesh: what it does is not known').allowed();
  const where = whereOf(pod);
  const kernel = await world.kernel(pod);
  if (!isInMesh(kernel)) {
    const why = kernel.off === undefined ? 'not in the mesh' : `switched off since ${kernel.off}`;
    return hopped.passes(where, `${why}: nothing is asked there`).allowed();
  }
  if (target.ip !== sourceIp && ILLEGAL_PORTS.has(target.port))
    return hopped.unreachable(
      where,
      `port ${target.port} belongs to the mesh, and plaintext is not taken there`,
    );
  const state = await world.node(pod.node);
  if ('absent' in state)
    return hopped.unreachable(where, `its node's ztunnel does not answer: ${state.absent}`);
  const problem = whyNotServed(state, pod);
  if (problem !== undefined) return hopped.unreachable(where, problem);
  return judge(hopped, state, pod, { sourceIp, destIp: target.ip, destPort: target.port });
}

function judge(trail: Trail, state: NodeState, pod: MeshPod, facts: ConnectionFacts): Way {
  const where = whereOf(pod);
  const workload = ownWorkload(state, pod);
  if (workload === undefined)
    return trail.denied(where, 'the control plane has not told its node of it', undefined);
  const verdict = evaluate(state.policies, workload, facts, { mayWait: false });
  const trial = verdict.dryRun
    .filter(({ matched }) => matched)
    .reduce(
      (told, { policy, action }) => told.note(where, `policy ${policy}, on trial, would ${action} it`),
      trail,
    );
  if (verdict.verdict === 'allow') {
    const { policy, applied } = verdict;
    const why =
      policy !== undefined
        ? `allowed by policy ${policy}`
        : applied.length > 0
          ? `none of ${applied.join(', ')} denies it`
          : 'no policy applies to it';
    return trial.passes(where, why, policy).allowed();
  }
  if (verdict.verdict === 'deny') {
    // Several names, or one of a policy that allows: nobody denied it, and whoever asks wants to know whom they let in.
    const names = new Set((verdict.policy ?? '').split(', '));
    const allows = state.policies.applicable(workload).policies.filter(({ key }) => names.has(key));
    const told = allowedAtPod(allows).reduce((so, line) => so.note(where, line), trial);
    return told.denied(where, verdict.reason, verdict.policy);
  }
  return trial.denied(where, `policies are missing: ${verdict.missing.join(', ')}`, verdict.missing[0]);
}

/** What keeps a node from serving a pod: no hand-over, no certificate. */
export function whyNotServed({ pods, certificates }: NodeState, pod: MeshPod): string | undefined {
  const row = pods.find(({ uid }) => uid === pod.uid);
  if (row === undefined) return "its node's ztunnel was not given it by the agent";
  if (row.state.kind === 'failed') return `its node's ztunnel cannot serve it: ${row.state.error ?? ''}`;
  const certificate = certificates.find(({ identity }) => identity === row.identity);
  if (certificate?.state === 'valid') return undefined;
  const why = certificate?.lastError === undefined ? '' : `: ${certificate.lastError}`;
  return `its node has no valid certificate of ${row.identity}${why}`;
}

/** As ztunnel itself finds it. */
export function ownWorkload({ workloads, clusterId }: NodeState, pod: MeshPod): Workload | undefined {
  const { namespace, name, account } = pod;
  return workloads.workloadOfPod({ clusterId, namespace, name, serviceAccount: account });
}

export function keyOf({ namespace, name }: Pick<MeshPod, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

export function whereOf(pod: MeshPod): string {
  return `${keyOf(pod)} on ${pod.node}`;
}
