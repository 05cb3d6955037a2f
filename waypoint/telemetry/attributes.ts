import { hostPortText } from '../../lib/mesh/hbone/host-port.ts';
import type { AttributeName } from '../../lib/mesh/telemetry/attributes.ts';
import type { Lookup, Value } from '../../lib/mesh/telemetry/expression.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { ConnectionRecord, RequestRecord } from './request-record.ts';

/** What a filter can ask about a request that ended. */
export function requestAttributes(record: RequestRecord): Lookup {
  return (name) => {
    switch (name) {
      case 'request.method':
        return record.method;
      case 'request.host':
        return record.authority;
      case 'request.url_path':
        return record.path;
      case 'request.id':
        return record.requestId;
      case 'request.protocol':
        return record.protocol;
      case 'response.code':
        return record.status;
      case 'response.grpc_status':
        return record.protocol === 'grpc' ? record.grpcStatus : undefined;
      default:
        return common(name, record);
    }
  };
}

/** What a filter can ask about an opaque connection that ended: all that is not of requests. */
export function connectionAttributes(record: ConnectionRecord): Lookup {
  return (name) => (name === 'request.protocol' ? 'tcp' : common(name, record));
}

function common(name: AttributeName, record: RequestRecord | ConnectionRecord): Value | undefined {
  const { source, upstream } = record;
  switch (name) {
    case 'connection.mtls':
      // What comes to a waypoint comes by HBONE.
      return source.identity !== undefined;
    case 'connection.uri_san_peer_certificate':
    case 'source.identity':
      return source.identity && spiffeUri(source.identity);
    case 'source.address':
      return hostPortText(source);
    case 'source.port':
      return source.port;
    case 'source.workload':
      return source.workload?.name;
    case 'source.namespace':
      return source.workload?.namespace;
    case 'destination.address':
      return record.destinationAddress;
    case 'destination.port':
      return portOf(record.destinationAddress);
    case 'destination.workload':
      return upstream?.workload?.name;
    case 'destination.namespace':
      return upstream?.workload?.namespace ?? record.requested?.namespace;
    case 'destination.identity':
      return upstream?.identity;
    case 'destination.service':
      return record.requested?.hostname;
    case 'request.size':
      return record.requestBytes;
    case 'response.size':
      return record.responseBytes;
    case 'request.duration':
      return record.durationMs;
    case 'response.flags':
      return record.flags.length === 0 ? undefined : record.flags.join(',');
    case 'response.code_details':
      return record.error;
    case 'upstream.address':
      return upstream?.address;
    default:
      return undefined;
  }
}

function portOf(address: string): number | undefined {
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  return Number.isInteger(port) ? port : undefined;
}
