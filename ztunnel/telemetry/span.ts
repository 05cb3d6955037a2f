import { parseHostPort } from '../../lib/mesh/hbone/host-port.ts';
import type { SpanRecord } from '../../lib/mesh/telemetry/span.ts';
import type { TracingRule } from '../../lib/mesh/telemetry/model.ts';
import { newSpanId, newTraceId, sampledByRatio } from '../../lib/mesh/telemetry/trace-ids.ts';
import type { AccessFacts, AccessOutcome } from './access-record.ts';

/** W3C's traceparent, version 00. */
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;

/**
 * The span of a connection that ended, where it is one of those that are recorded. The two ends of a tunnel have one trace: what the
 * caller's side tells the other names its span as the parent there. Who is recorded is decided by the trace's id alone, so that
 * both sides decide alike where the same share is asked of both.
 *
 * @param startMs since the epoch
 */
export function connectionSpan(
  facts: AccessFacts,
  outcome: AccessOutcome,
  startMs: number,
  rule: TracingRule,
): SpanRecord | undefined {
  const { flow } = facts;
  const isCaller = flow.reporter === 'source';
  const [, told, toldSpan] = TRACEPARENT.exec(facts.trace ?? '') ?? [];
  const traceId = told ?? newTraceId();
  if (!sampledByRatio(traceId, rule.sampling)) return undefined;
  const peer = parseHostPort(isCaller ? facts.destinationAddress : facts.sourceAddress);
  const failed = outcome.error !== undefined;
  return {
    traceId,
    spanId: (isCaller ? toldSpan : undefined) ?? newSpanId(),
    parentSpanId: isCaller ? undefined : toldSpan,
    parentIsRemote: true,
    tracestate: undefined,
    name: `TCP ${flow.service?.hostname ?? flow.destination?.name ?? 'connection'}`,
    kind: isCaller ? 'client' : 'server',
    startMs,
    endMs: startMs + outcome.durationMs,
    failed,
    message: outcome.error,
    endpoint: rule.endpoint,
    attributes: Object.fromEntries(
      Object.entries({
        ...rule.tags,
        'network.transport': 'tcp',
        'network.peer.address': peer?.ip,
        'network.peer.port': peer?.port,
        'error.type': failed ? outcome.flag : undefined,
        'loam.service': flow.service?.hostname,
        'loam.mtls': flow.mutualTls,
        'loam.response_flags': outcome.flag === '-' ? undefined : [outcome.flag],
        'loam.policy': outcome.policy,
        'loam.via': flow.via,
        'loam.bytes_sent': outcome.bytesSent,
        'loam.bytes_received': outcome.bytesReceived,
        'loam.source.identity': flow.sourceIdentity,
        'loam.source.workload': flow.source?.workloadName,
        'loam.source.namespace': flow.source?.namespace,
        'loam.destination.identity': flow.destinationIdentity,
        'loam.destination.workload': flow.destination?.workloadName,
        'loam.destination.namespace': flow.destination?.namespace,
      }).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    ),
  };
}
