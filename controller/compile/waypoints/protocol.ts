import { Protocol } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { ServicePort } from '../../model/objects.ts';

/**
 * The protocol of a Service's port: by `appProtocol` (KEP-3726 and Istio's names), else by the prefix of the port's name
 * (Istio's protocol selection). What says nothing, or something unknown, is looked at when the first bytes come. TLS is
 * opaque to a waypoint.
 */
export function protocolOf({ appProtocol, name }: ServicePort): Protocol {
  switch ((appProtocol ?? name?.split('-')[0] ?? '').toLowerCase()) {
    case 'http':
    case 'kubernetes.io/ws':
      return Protocol.HTTP1;
    case 'http2':
    case 'kubernetes.io/h2c':
      return Protocol.HTTP2;
    case 'grpc':
      return Protocol.GRPC;
    // gRPC-Web comes over HTTP/1.1 as well as HTTP/2.
    case 'grpc-web':
      return Protocol.DETECT;
    case 'tcp':
    case 'tls':
    case 'https':
    case 'kubernetes.io/wss':
    case 'mysql':
    case 'mongo':
    case 'redis':
      return Protocol.TCP;
    default:
      return Protocol.DETECT;
  }
}
