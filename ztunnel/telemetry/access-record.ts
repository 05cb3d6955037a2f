import type { AccessRecord } from '../../lib/mesh/telemetry/access-log.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import type { Flow } from './flow-labels.ts';
import type { ResponseFlag } from '../../lib/mesh/hbone/proxy-error.ts';
import type { Direction } from '../proxy/connection-registry.ts';

export interface AccessFacts {
  readonly direction: Direction;
  readonly flow: Flow;
  readonly sourceAddress: string;
  readonly destinationAddress: string;
  readonly hboneAddress: string | undefined;
  readonly trace: string | undefined;
}

export interface AccessOutcome {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
  readonly flag: ResponseFlag;
  readonly error: string | undefined;
  readonly policy: string | undefined;
}

/** Flags of what a rule forbids; the others stand for what failed. */
const DENIALS: ReadonlySet<ResponseFlag> = new Set(['DENY', 'EGRESS', 'REGISTRY_ONLY']);

/** The line for a connection that ended, with Istio's field names (ambient-facts C12). Identities appear only where mutual TLS proved them. */
export function completionRecord(facts: AccessFacts, outcome: AccessOutcome, opened: boolean): AccessRecord {
  const failed = outcome.error !== undefined;
  return {
    level: !failed ? 'info' : DENIALS.has(outcome.flag) ? 'warn' : 'error',
    message: opened ? 'connection complete' : 'connection failed',
    fields: {
      ...endpointFields(facts),
      bytes_sent: outcome.bytesSent,
      bytes_recv: outcome.bytesReceived,
      duration: `${Math.round(outcome.durationMs)}ms`,
      error: outcome.error,
      response_flags: outcome.flag === '-' ? undefined : outcome.flag,
      policy: outcome.policy,
    },
  };
}

/** The line for a connection that begins, at level debug. */
export function openRecord(facts: AccessFacts): AccessRecord {
  return { level: 'debug', message: 'connection opened', fields: endpointFields(facts) };
}

function endpointFields(facts: AccessFacts): Record<string, string | undefined> {
  const { flow } = facts;
  return {
    'src.addr': facts.sourceAddress,
    ...workloadFields('src', flow.source, flow.sourceIdentity),
    'dst.addr': facts.destinationAddress,
    'dst.hbone_addr': facts.hboneAddress,
    'dst.service': flow.service?.hostname,
    ...workloadFields('dst', flow.destination, flow.destinationIdentity),
    via: flow.via,
    'via.identity': flow.viaIdentity,
    direction: facts.direction,
    trace: facts.trace,
  };
}

function workloadFields(
  side: 'src' | 'dst',
  workload: Workload | undefined,
  identity: string | undefined,
): Record<string, string | undefined> {
  return {
    [`${side}.workload`]: workload?.name,
    [`${side}.namespace`]: workload?.namespace,
    [`${side}.identity`]: identity,
    [`${side}.cluster`]: workload?.clusterId || undefined,
  };
}
