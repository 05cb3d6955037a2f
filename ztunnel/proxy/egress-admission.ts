import { ProxyError, type ProxyErrorCode } from '../../lib/mesh/hbone/proxy-error.ts';
import type { HostPort } from '../../lib/mesh/hbone/hbone-headers.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { canonicalIp } from '../../lib/mesh/state/ip.ts';
import { waitForState } from '../../lib/mesh/state/wait.ts';
import { readDialled, type Dialled } from '../../lib/mesh/egress/dialled.ts';
import type { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import { evaluateEgress, type EgressFacts, type EgressVerdict } from '../../lib/mesh/egress/evaluate.ts';
import type { Upstream } from '../../lib/mesh/outbound/upstream.ts';
import type { Pod } from './pod.ts';
import type { TrackedConnection } from './tracked-connection.ts';

type Denial = Extract<EgressVerdict, { verdict: 'deny' }>;

/** What was asked at one moment: where the connection would go, and whether it may. */
interface Asked {
  readonly upstream: Upstream;
  readonly dialled: Dialled;
  readonly verdict: EgressVerdict;
}

/**
 * Lets an application's connection pass when the egress rules of its pod allow what it dials; waits up to 5 s for what
 * the controller has yet to tell. From then on every change of the rules is checked too, and ends the connection that is
 * allowed no more. The connection must be registered already, so that no change is missed.
 *
 * @param resolve where the connection goes, as it is known now; asked again after each wait
 * @returns the upstream that was allowed
 * @throws ProxyError EGRESS_DENIED, REGISTRY_ONLY
 */
export async function admitEgress(
  connection: TrackedConnection,
  pod: Pod,
  own: Workload,
  destination: HostPort,
  resolve: () => Upstream,
): Promise<Upstream> {
  const { egress, workloads, limits } = pod.mesh;
  if (egress === undefined || isItself(own, destination)) return resolve();
  const ask = (mayWait: boolean): Asked => {
    const upstream = resolve();
    const dialled = readDialled(workloads, own, destination, upstream);
    return { upstream, dialled, verdict: evaluateEgress(egress, own.uid, dialled.facts, mayWait) };
  };
  const settled = (): Asked | undefined => {
    const asked = ask(true);
    return asked.verdict.verdict === 'wait' ? undefined : asked;
  };
  const asked =
    settled() ?? (await waitForState([egress, workloads], settled, limits.stateWaitMs)) ?? ask(false);
  const { upstream, dialled, verdict } = asked;
  connection.throwIfTerminated();
  if (verdict.verdict === 'deny') {
    // Nothing is proved of the other end, since it was not dialled.
    const { service, workload: target } = dialled;
    connection.flow = { ...connection.flow, destination: target, service };
    throw refuse(pod, verdict, 'EGRESS_DENIED', 'denied');
  }
  connection.allowedBy = verdict.verdict === 'allow' ? verdict.policy : undefined;
  connection.onRecheck = rechecker(connection, pod, own, egress, dialled.facts);
  return upstream;
}

/** A pod reaches itself at its own address, as a NetworkPolicy cannot forbid it either: that is no way out. */
function isItself(own: Workload, { ip }: HostPort): boolean {
  return own.addresses.includes(canonicalIp(ip) ?? '');
}

/** A live connection is cut for lack of what was not told only when that did not come within the same wait. */
function rechecker(
  connection: TrackedConnection,
  pod: Pod,
  own: Workload,
  egress: EgressStore,
  facts: EgressFacts,
): () => void {
  let waiting = false;
  const recheck = (mayWait: boolean): void => {
    const verdict = evaluateEgress(egress, own.uid, facts, mayWait);
    switch (verdict.verdict) {
      case 'allow':
        return;
      case 'deny':
        connection.terminate(refuse(pod, verdict, 'EGRESS_CHANGED', 'closed due to policy change'));
        return;
      case 'wait':
        if (waiting) return;
        waiting = true;
        setTimeout(() => {
          waiting = false;
          if (connection.onRecheck !== undefined) recheck(false);
        }, pod.mesh.limits.stateWaitMs).unref();
    }
  };
  return () => recheck(true);
}

function refuse(pod: Pod, denial: Denial, code: ProxyErrorCode, what: string): ProxyError {
  const { policy, reason, why } = denial;
  pod.mesh.metrics.egressRefused(code === 'EGRESS_CHANGED' ? 'changed' : why, policy);
  return new ProxyError(
    why === 'registry-only' ? 'REGISTRY_ONLY' : code,
    `${what}: ${reason}`,
    policy === undefined ? {} : { policy },
  );
}
