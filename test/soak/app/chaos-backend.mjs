// A backend that misbehaves as a file says: ok, slow, reset (before a response), break (within it), error.
// HTTP/1.1 and HTTP/2 with prior knowledge on one port. Arguments: name, file with the mode.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import process from 'node:process';
import { setInterval, setTimeout } from 'node:timers';

const [name, file] = process.argv.slice(2);
let mode = 'ok';
setInterval(() => {
  try {
    mode = readFileSync(file, 'utf8').trim();
  } catch {
    mode = 'ok';
  }
}, 100);

function serve(request, response) {
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  const cut = () =>
    response.stream
      ? response.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
      : request.socket.destroy();
  let bytes = 0;
  request.on('data', (chunk) => (bytes += chunk.length));
  request.on('end', () => {
    if (mode === 'reset') return cut();
    if (mode === 'error') {
      response.statusCode = 503;
      return response.end('told to fail\n');
    }
    const answer = () => {
      response.setHeader('x-backend', name);
      if (mode === 'break') {
        response.setHeader('content-length', '100000');
        response.write('half');
        return setTimeout(cut, 20);
      }
      response.end(`${bytes}\n`);
    };
    setTimeout(answer, mode === 'slow' ? 4_000 : 2);
  });
}

const http1 = http.createServer(serve);
const h2 = http2.createServer(serve);
h2.on('sessionError', () => undefined);
net
  .createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('readable', () => {
      const first = socket.read();
      if (first === null) return socket.destroy();
      socket.unshift(first);
      (first.subarray(0, 3).toString() === 'PRI' ? h2 : http1).emit('connection', socket);
    });
  })
  .listen(8080);
