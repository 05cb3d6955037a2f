// A gRPC service of all four kinds, without a .proto: messages are raw bytes.
import grpc from '@grpc/grpc-js';
import { Buffer } from 'node:buffer';

const raw = (bytes) => bytes;
const method = (path, requestStream, responseStream) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});

export const ECHO = {
  unary: method('/test.Echo/Unary', false, false),
  client: method('/test.Echo/Client', true, false),
  server: method('/test.Echo/Server', false, true),
  both: method('/test.Echo/Both', true, true),
  fail: method('/test.Echo/Fail', false, false),
};

export function serveGrpc(port, pod) {
  const server = new grpc.Server();
  const trailer = () => {
    const metadata = new grpc.Metadata();
    metadata.set('x-sum', pod);
    return metadata;
  };
  const said = (text) => Buffer.from(text);
  server.addService(ECHO, {
    unary: (call, done) => {
      const header = new grpc.Metadata();
      header.set('x-pod', pod);
      header.set('x-saw', String(call.metadata.get('x-forwarded-client-cert')[0] ?? ''));
      call.sendMetadata(header);
      done(null, said(`unary ${call.request.toString()}`), trailer());
    },
    client: (call, done) => {
      const all = [];
      call.on('data', (message) => all.push(message.toString()));
      call.on('end', () => done(null, said(`client ${all.join('+')}`), trailer()));
    },
    server: (call) => {
      for (const part of call.request.toString().split(',')) call.write(said(`server ${part}`));
      call.end(trailer());
    },
    // Each answer comes before the next question.
    both: (call) => {
      call.on('data', (message) => call.write(said(`both ${message.toString()}`)));
      call.on('end', () => call.end(trailer()));
    },
    fail: (call, done) => done({ code: Number(call.request.toString()), details: `no: ${pod}` }),
  });
  server.bindAsync(`[::]:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
  });
}
