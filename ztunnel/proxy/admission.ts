import type { Verdict } from '../../lib/flow/event.ts';
import { evaluate, type ConnectionFacts } from '../../lib/mesh/policy/evaluate.ts';
import { waitForState } from '../../lib/mesh/state/wait.ts';
import type { Pod } from './pod.ts';
import { ProxyError, type ProxyErrorCode } from '../../lib/mesh/hbone/proxy-error.ts';
import type { TrackedConnection } from './tracked-connection.ts';

/** Allowed, denied by something, or not to be said before more is known. */
type Ruling =
  | { readonly allowed: true; readonly policy?: string; readonly trial: Verdict['trial'] }
  | { readonly allowed: false; readonly reason: string; readonly policy?: string };

/**
 * Lets an inbound connection pass when the policies for its pod allow it; waits up to 5 s for what they lack. From then
 * on every change of policies or of the pod's workload is checked too, and ends the connection that is allowed no more.
 * The connection must be registered already, so that no change is missed.
 *
 * @param read the connection's facts as they are known now; asked each time until it is admitted, and fixed from then on
 * @throws ProxyError POLICY_DENIED
 */
export async function admit(
  connection: TrackedConnection,
  pod: Pod,
  read: () => ConnectionFacts,
): Promise<void> {
  const { firstState, workloads, policies } = pod.mesh;
  let facts = read();
  const ask = (mayWait: boolean): Ruling | undefined => {
    facts = read();
    return rule(pod, facts, mayWait);
  };
  const ruling =
    rule(pod, facts, true) ??
    (await waitForState([firstState, policies, workloads], () => ask(true), pod.mesh.limits.stateWaitMs)) ??
    ask(false);
  if (ruling?.allowed !== true) throw denial('POLICY_DENIED', 'denied', ruling);
  connection.throwIfTerminated();
  connection.allowedBy = ruling.policy;
  connection.trial = ruling.trial;
  connection.onRecheck = rechecker(connection, pod, facts);
}

/** @returns undefined while it may still be waited for more */
function rule(pod: Pod, facts: ConnectionFacts, mayWait: boolean): Ruling | undefined {
  const workload = pod.workload();
  if (workload === undefined || !pod.mesh.firstState.complete) {
    const reason =
      workload === undefined
        ? 'the pod is not known to the control plane'
        : 'the control plane has not told all its policies yet';
    return mayWait ? undefined : { allowed: false, reason };
  }
  const why = workload.standIn && whyNotIn(workload.standIn, facts);
  if (why !== undefined) return mayWait ? undefined : { allowed: false, reason: why };
  const verdict = evaluate(pod.mesh.policies, workload, facts, { mayWait });
  switch (verdict.verdict) {
    case 'allow':
      return {
        allowed: true,
        ...(verdict.policy !== undefined && { policy: verdict.policy }),
        trial: verdict.dryRun.flatMap(({ policy, action, matched }) => (matched ? [{ policy, action }] : [])),
      };
    case 'deny':
      return {
        allowed: false,
        reason: verdict.reason,
        ...(verdict.policy !== undefined && { policy: verdict.policy }),
      };
    case 'wait':
      return undefined;
  }
}

/**
 * A policy that forbids plaintext may select the pod without being known here, since no other pod has it: only what proves
 * who it is may come in to a pod of which the control plane has not told.
 */
function whyNotIn({ unsure }: { readonly unsure?: string }, facts: ConnectionFacts): string | undefined {
  const away = 'no control plane could be asked about the pod';
  if (unsure !== undefined) return `${away}, and ${unsure}`;
  return facts.sourceIdentity === undefined ? `${away}, and plaintext may be forbidden` : undefined;
}

/** A live connection is cut for lack of a policy only when that did not come within the same wait. */
function rechecker(connection: TrackedConnection, pod: Pod, facts: ConnectionFacts): () => void {
  let waiting = false;
  const recheck = (mayWait: boolean): void => {
    const ruling = rule(pod, facts, mayWait);
    if (ruling === undefined) {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        if (connection.onRecheck !== undefined) recheck(false);
      }, pod.mesh.limits.stateWaitMs).unref();
    } else if (!ruling.allowed) {
      connection.terminate(denial('POLICY_CHANGED', 'closed due to policy change', ruling));
    }
  };
  return () => recheck(true);
}

function denial(code: ProxyErrorCode, what: string, ruling: Ruling | undefined): ProxyError {
  if (ruling === undefined || ruling.allowed) return new ProxyError(code, what);
  const policy = ruling.policy === undefined ? {} : { policy: ruling.policy };
  return new ProxyError(code, `${what}: ${ruling.reason}`, policy);
}
