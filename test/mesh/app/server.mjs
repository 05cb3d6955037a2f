// The server of the mesh tests: tells each client who it seems to be, in several manners.
import { createServer as createHttp } from 'node:http';
import { createServer } from 'node:net';
import { createHash } from 'node:crypto';

const who = (socket) => ({
  remote: `${socket.remoteAddress}:${socket.remotePort}`,
  local: `${socket.localAddress}:${socket.localPort}`,
});

// IPv4 as IPv4, though the listener is one of both families.
const plain = (value) => JSON.stringify(value).replaceAll('::ffff:', '');

const tcp = (port, host, serve) =>
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    serve(socket);
  }).listen(port, host);

// HTTP: GET says who, POST gives the body back. Listens on :: as Node does by default, so IPv4 comes v4-mapped.
createHttp((request, response) => {
  if (request.method === 'POST') request.pipe(response);
  else response.end(`${JSON.stringify(who(request.socket))}\n`);
}).listen(8080);

// Server-first: a greeting before the client says anything, then an echo.
tcp(7000, '::', (socket) => {
  socket.write(`HELLO ${plain(who(socket))}\n`);
  socket.pipe(socket);
});

// Half-close: answers only when the client has said all.
tcp(7001, '::', (socket) => {
  const hash = createHash('sha256');
  let bytes = 0;
  socket.on('data', (chunk) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  socket.on('end', () => socket.end(`${bytes} ${hash.digest('hex')}\n`));
});
