import type { Gate, Readiness } from '../lib/admin/readiness.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../lib/mesh/xds/delta-service.ts';
import type { CertificateStatus } from '../lib/mesh/identity/certificate-manager.ts';
import { spiffeUri } from '../lib/spiffe.ts';
import type { ZtunnelConfig } from './config.ts';
import { EGRESS_TYPE, followsEgress, type StateFeed } from './control-plane.ts';
import type { PodDirectory, PodRow } from './pods/pod-directory.ts';
import type { ZdsClient } from './pods/zds-client.ts';
import type { Takeover } from './takeover.ts';

export interface GateSources {
  readonly config: ZtunnelConfig;
  readonly feed: () => StateFeed | undefined;
  /** What an earlier ztunnel left is in force, since no controller answered. */
  readonly heldInForce: () => boolean;
  readonly zds: Pick<ZdsClient, 'status' | 'everLive'>;
  readonly pods: Pick<PodDirectory, 'rows'>;
  readonly takeover: Pick<Takeover, 'serving' | 'reason'>;
  readonly draining: () => boolean;
}

/** The conditions of a ztunnel's readiness. */
export function addGates(readiness: Readiness, sources: GateSources): void {
  const { config, takeover, draining } = sources;
  readiness.add('xds-workloads', xdsGate(sources, ADDRESS_TYPE));
  readiness.add('xds-policies', xdsGate(sources, AUTHORIZATION_TYPE));
  if (followsEgress(config)) readiness.add('xds-egress', xdsGate(sources, EGRESS_TYPE));
  readiness.add('zds-snapshot', zdsGate(sources));
  readiness.add('listeners', listenersGate(sources));
  readiness.add('serving', () => ({ ready: takeover.serving, reason: takeover.reason }));
  readiness.add('draining', () => ({
    ready: !draining(),
    reason: draining() ? 'asked to end' : 'no',
  }));
}

/** A state that was received stays in force while the controller is away (DESIGN §6). */
function xdsGate({ config, feed, heldInForce }: GateSources, typeUrl: string): Gate {
  return () => {
    const status = feed()?.status();
    if (status === undefined) return { ready: false, reason: 'starting' };
    // State from a file is whole from the beginning.
    const answered =
      config.state.from === 'file' || status.types.find((type) => type.typeUrl === typeUrl)?.ready === true;
    const offline = status.lastError ?? 'connecting';
    if (answered) {
      return { ready: true, reason: status.connected ? 'in force' : `last state in force; ${offline}` };
    }
    if (heldInForce()) return { ready: true, reason: `an earlier ztunnel's state in force; ${offline}` };
    return { ready: false, reason: status.connected ? 'waiting for the first response' : offline };
  };
}

/**
 * An agent that is away takes no pod away: those it told of are served on. A DaemonSet ends a former pod that is not ready as soon as
 * a new one is there, though that may not serve yet: while agents are replaced too, the node's connections would have nobody.
 */
function zdsGate({ config, zds }: GateSources): Gate {
  return () => {
    const { status, everLive: ready } = zds;
    switch (status.state) {
      case 'live':
        return { ready: true, reason: 'connected to the agent' };
      case 'snapshot':
        return { ready, reason: 'waiting for the rest of the snapshot' };
      case 'connecting':
        return { ready, reason: `no agent at ${config.zds}: ${status.lastError ?? 'connecting'}` };
    }
  };
}

/**
 * Shut while pods wait for their first answer. One that cannot be served is said, and counted in metrics; the others are served all
 * the same, and for them the node has to stay ready: a DaemonSet ends a former pod that is not ready before the new one serves. What
 * another ztunnel serves and this one cannot the agent does not give to this one (agent/zds/takeover.ts).
 */
function listenersGate({ pods }: GateSources): Gate {
  return () => {
    const rows = pods.rows();
    const starting = rows.find((pod) => pod.state.kind === 'starting');
    if (starting !== undefined)
      return { ready: false, reason: `${starting.namespace}/${starting.name} is about to be served` };
    const failed = rows.filter((pod) => pod.state.kind === 'failed');
    const [first] = failed;
    if (first?.state.kind !== 'failed') return { ready: true, reason: `${rows.length} pods served` };
    const why = `${failed.length} cannot be, ${first.namespace}/${first.name}: ${first.state.error}`;
    return { ready: true, reason: `${rows.length - failed.length} pods served, ${why}` };
  };
}

/**
 * What is still to come before this ztunnel could take over from another one without loss; undefined: nothing.
 *
 * @param pods that the agent gave; certificates of pods that are only expected hold nothing up
 */
export function missingForTakeover(
  readiness: Readiness,
  certificates: readonly CertificateStatus[],
  pods: readonly Pick<PodRow, 'identity'>[],
): string | undefined {
  const { gates } = readiness.report();
  const shut = gates.find(({ name, ready }) => !ready && name !== 'serving' && name !== 'draining');
  if (shut !== undefined) return `${shut.name}: ${shut.reason}`;
  // One that the CA refuses, or that it could not be asked for, the other ztunnel does not get either.
  const given = new Set(pods.map(({ identity }) => spiffeUri(identity)));
  const pending = certificates.find(({ identity, state }) => state === 'pending' && given.has(identity));
  return pending && `the certificate of ${pending.identity}`;
}
