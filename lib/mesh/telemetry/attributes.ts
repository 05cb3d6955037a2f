export type AttributeType = 'string' | 'int' | 'bool' | 'duration';

/**
 * What a filter can ask about. Names and meanings are Envoy's attributes, as far as Loam knows them; what stands under source and
 * destination beside address and port is Loam's own. A duration counts in milliseconds.
 */
export const ATTRIBUTES = {
  'connection.mtls': 'bool',
  'connection.uri_san_peer_certificate': 'string',
  'source.address': 'string',
  'source.port': 'int',
  'source.workload': 'string',
  'source.namespace': 'string',
  'source.identity': 'string',
  'destination.address': 'string',
  'destination.port': 'int',
  'destination.workload': 'string',
  'destination.namespace': 'string',
  'destination.identity': 'string',
  'destination.service': 'string',
  'request.method': 'string',
  'request.host': 'string',
  'request.url_path': 'string',
  'request.id': 'string',
  'request.protocol': 'string',
  'request.size': 'int',
  'request.duration': 'duration',
  'response.code': 'int',
  'response.grpc_status': 'int',
  'response.size': 'int',
  'response.flags': 'string',
  'response.code_details': 'string',
  'upstream.address': 'string',
} as const satisfies Readonly<Record<string, AttributeType>>;

export type AttributeName = keyof typeof ATTRIBUTES;
