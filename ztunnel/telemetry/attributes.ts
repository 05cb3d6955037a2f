import type { AttributeName } from '../../lib/mesh/telemetry/attributes.ts';
import type { Lookup, Value } from '../../lib/mesh/telemetry/expression.ts';
import { parseHostPort } from '../../lib/mesh/hbone/host-port.ts';
import type { AccessFacts, AccessOutcome } from './access-record.ts';

/** What a filter can ask about a connection that ended: all that is not of requests. */
export function attributesOf(facts: AccessFacts, outcome: AccessOutcome): Lookup {
  return (name) => attribute(name, facts, outcome);
}

function attribute(name: AttributeName, facts: AccessFacts, outcome: AccessOutcome): Value | undefined {
  const { flow } = facts;
  switch (name) {
    case 'connection.mtls':
      return flow.mutualTls;
    case 'connection.uri_san_peer_certificate':
      return flow.reporter === 'source'
        ? flow.destinationIdentity
        : (flow.viaIdentity ?? flow.sourceIdentity);
    case 'source.address':
      return facts.sourceAddress;
    case 'source.port':
      return portOf(facts.sourceAddress);
    case 'source.workload':
      return flow.source?.name;
    case 'source.namespace':
      return flow.source?.namespace;
    case 'source.identity':
      return flow.sourceIdentity;
    case 'destination.address':
      return facts.hboneAddress ?? facts.destinationAddress;
    case 'destination.port':
      return portOf(facts.hboneAddress ?? facts.destinationAddress);
    case 'destination.workload':
      return flow.destination?.name;
    case 'destination.namespace':
      return flow.destination?.namespace;
    case 'destination.identity':
      return flow.destinationIdentity;
    case 'destination.service':
      return flow.service?.hostname;
    case 'request.duration':
      return outcome.durationMs;
    case 'request.size':
      return flow.reporter === 'source' ? outcome.bytesSent : outcome.bytesReceived;
    case 'response.size':
      return flow.reporter === 'source' ? outcome.bytesReceived : outcome.bytesSent;
    case 'response.flags':
      return outcome.flag === '-' ? undefined : outcome.flag;
    case 'response.code_details':
      return outcome.error;
    case 'upstream.address':
      return facts.destinationAddress;
    case 'request.protocol':
      return 'tcp';
    case 'request.method':
    case 'request.host':
    case 'request.url_path':
    case 'request.id':
    case 'response.code':
    case 'response.grpc_status':
      return undefined;
  }
}

function portOf(address: string): number | undefined {
  return parseHostPort(address)?.port;
}
