import {
  type DescMessage,
  type DescService,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { ServiceDefinition } from '@grpc/grpc-js';

/** Told each request that was read, and how many bytes it had. */
type OnRequest = (request: object, bytes: number) => void;

/** Turns a generated service description into what grpc-js wants to know of it. */
export function grpcServiceDefinition(service: DescService, onRequest?: OnRequest): ServiceDefinition {
  return Object.fromEntries(
    service.methods.map((method) => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        originalName: method.localName,
        requestStream: method.methodKind === 'bidi_streaming' || method.methodKind === 'client_streaming',
        responseStream: method.methodKind === 'bidi_streaming' || method.methodKind === 'server_streaming',
        ...codec('request', method.input, onRequest),
        ...codec('response', method.output),
      },
    ]),
  ) as unknown as ServiceDefinition;
}

function codec(
  side: 'request' | 'response',
  schema: DescMessage,
  onRead?: OnRequest,
): Record<string, unknown> {
  return {
    // What is encoded already, because many get it, goes out as it is.
    [`${side}Serialize`]: (message: MessageShape<DescMessage> | Buffer): Buffer =>
      Buffer.isBuffer(message) ? message : Buffer.from(toBinary(schema, message)),
    [`${side}Deserialize`]: (bytes: Uint8Array): unknown => {
      const message = fromBinary(schema, bytes);
      onRead?.(message, bytes.length);
      return message;
    },
  };
}
