// Answers probes by HTTP (8080) and gRPC (9090, grpc.health.v1), and says who asked: protocol, path, user agent, address.
import { Buffer } from 'node:buffer';
import console from 'node:console';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';

const say = (...words) => console.log(words.join(' '));
/** A gRPC frame with HealthCheckResponse{status: SERVING}. */
const SERVING = Buffer.from([0, 0, 0, 0, 2, 8, 1]);

createServer((request, response) => {
  say('http', request.url, request.headers['user-agent'], request.socket.remoteAddress);
  response.end('ok\n');
}).listen(8080);

// Where nobody probes it.
createServer((request, response) => {
  say('unprobed', request.url, request.headers['user-agent']);
  response.end('ok\n');
}).listen(8081);

const grpc = createHttp2Server();
grpc.on('stream', (stream, headers) => {
  say('grpc', headers[':path'], headers['user-agent'], stream.session.socket.remoteAddress);
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(SERVING);
});
grpc.listen(9090);
