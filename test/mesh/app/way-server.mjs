// The server behind the waypoint in the mesh tests. What a request asks for stands in its path; without a wish the answer
// tells what arrived. HTTP/1.1 on 8080, HTTP/2 on 8081, gRPC on 9090, TCP on 7000 and 7001, TLS on 8443.
import { createServer as createHttp } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { createServer } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { createHash } from 'node:crypto';
import { Buffer } from 'node:buffer';
import process from 'node:process';
import { setTimeout } from 'node:timers';
import { URL } from 'node:url';
import { serveGrpc } from './way-grpc.mjs';

const POD = process.env.POD_NAME ?? process.argv[2] ?? '';
/** What waits for a `/release`, by name. */
const held = new Map();
let seen = 0;
const requests = new Map();
const sent = new Map();

const handle = (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://here');
  const arg = (name, otherwise = '') => searchParams.get(name) ?? otherwise;
  requests.set(pathname, (requests.get(pathname) ?? 0) + 1);
  response.setHeader('x-pod', POD);
  response.on('error', () => undefined);
  request.on('error', () => undefined);
  switch (pathname.split('/')[1]) {
    case 'status':
      request.resume();
      response.statusCode = Number(arg('code', '200'));
      if (arg('header') !== '') response.setHeader(...arg('header').split(':'));
      return void response.end(`status of ${POD}\n`);
    // Says whether it came by way of a waypoint.
    case 'via': {
      const via = /^By=(\S+);URI=/.exec(request.headers['x-forwarded-client-cert'] ?? '')?.[1] ?? 'nobody';
      request.resume();
      response.setHeader('x-pod', `${POD} via ${via.split('/').at(-1)}`);
      return void response.end(POD);
    }
    // Fails by a fixed share: so many of ten.
    case 'flaky':
      request.resume();
      seen += 1;
      response.statusCode = seen % 10 < Number(arg('of10')) ? 503 : 200;
      return void response.end(POD);
    // Fails on one pod only.
    case 'bad-on':
      request.resume();
      response.statusCode = POD === arg('pod') ? Number(arg('code', '503')) : 200;
      return void response.end(POD);
    case 'reset':
      if (POD === arg('pod', POD)) return void request.socket.destroy();
      return void response.end(POD);
    case 'hold':
      request.resume();
      if (POD !== arg('pod', POD)) return void response.end(POD);
      return void held.set(arg('id'), () => response.end(POD));
    case 'release': {
      const release = held.get(arg('id'));
      held.delete(arg('id'));
      release?.();
      return void response.end(JSON.stringify({ released: release !== undefined }));
    }
    case 'count':
      return void response.end(JSON.stringify({ count: requests.get(arg('path')) ?? 0 }));
    // The second event comes when somebody asks for it, so that it cannot have been waited for.
    case 'events':
      response.setHeader('content-type', 'text/event-stream');
      response.write('data: first\n\n');
      return void held.set(arg('id'), () => response.end('data: second\n\n'));
    // Answers in full before it has read the body.
    case 'early':
      response.statusCode = 413;
      return void response.end('enough');
    case 'trailers':
      request.resume();
      if (request.httpVersionMajor === 1) response.setHeader('trailer', 'x-sum');
      response.write('body ');
      return void request.on('end', () => {
        response.addTrailers({ 'x-sum': 'of the response' });
        response.end(`with ${request.trailers['x-client-sum'] ?? 'none'}`);
      });
    case 'mirror-me':
    case 'pipe':
      return void request.pipe(response);
    case 'sent':
      return void response.end(JSON.stringify({ bytes: sent.get(arg('id')) ?? 0 }));
    case 'download':
      return void download(response, Number(arg('bytes')), arg('id'));
    default:
      return void tell(request, response);
  }
};

function tell(request, response) {
  const hash = createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  request.on('end', () => {
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        pod: POD,
        method: request.method,
        url: request.url,
        version: request.httpVersion,
        headers: { ...request.headers, host: request.headers[':authority'] ?? request.headers.host },
        trailers: request.trailers,
        bytes,
        sha256: hash.digest('hex'),
      }),
    );
  });
}

function download(response, bytes, id) {
  const chunk = Buffer.alloc(64 * 1024, 'd');
  let left = bytes;
  const more = () => {
    while (left > 0) {
      const now = left < chunk.length ? chunk.subarray(0, left) : chunk;
      left -= now.length;
      sent.set(id, bytes - left);
      if (!response.write(now)) return void response.once('drain', more);
    }
    response.end();
  };
  more();
}

const http = createHttp(handle);
http.keepAliveTimeout = 0;
// After the switch: gives back what it gets, and ends when the client ends.
http.on('upgrade', (request, socket, head) => {
  socket.on('error', () => undefined);
  if (request.headers.upgrade === 'no') {
    return void socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno');
  }
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${request.headers.upgrade}\r\n` +
      `x-pod: ${POD}\r\nx-said: hello\r\n\r\n`,
  );
  socket.write('WELCOME ');
  if (head.length > 0) socket.write(head);
  socket.pipe(socket);
});
http.listen(8080);
createHttp2(handle).listen(8081);
serveGrpc(9090, POD);

const tcp = (port, serve) =>
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    serve(socket);
  }).listen(port, '::');
// IPv4 as IPv4, though the listeners are of both families.
const plain = (address) => address.replace(/^::ffff:/, '');
// Server-first.
tcp(7000, (socket) => {
  socket.write(`HELLO ${plain(socket.remoteAddress)} from ${POD}\n`);
  socket.pipe(socket);
});
// Half-close: answers when the client has said all.
tcp(7001, (socket) => {
  const hash = createHash('sha256');
  let bytes = 0;
  socket.on('data', (chunk) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  socket.on('end', () =>
    setTimeout(() => socket.end(`${bytes} ${hash.digest('hex')} ${plain(socket.remoteAddress)}\n`), 50),
  );
});
createTls(
  {
    pskCallback: () => Buffer.alloc(32, 7),
    pskIdentityHint: 'test',
    ciphers: 'PSK',
    maxVersion: 'TLSv1.2',
  },
  (socket) => {
    socket.on('error', () => undefined);
    socket.end(`TLS ${plain(socket.remoteAddress)}`);
  },
).listen(8443, '::');
