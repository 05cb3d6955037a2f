// The far end of the soak's byte streams: raw TCP on 9000, HTTP/1.1 on 9001, HTTP/1.1 with bodies that only the end of the
// connection ends on 9002, HTTP/2 on 9003. It says a line of JSON for everything that must not be.
import console from 'node:console';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { createServer } from 'node:net';
import process from 'node:process';
import { Check, receive, resetHttp2, send } from './stream-bytes.mjs';

const MAX_HEAD = 1024;
const counts = { whole: 0, cut: 0 };

function watch(what, stream, check, pace) {
  const isHttp2 = stream.httpVersionMajor === 2;
  let ended = false;
  if (isHttp2) stream.stream.prependOnceListener('end', () => (ended = !stream.stream.destroyed));
  stream.on('close', () => {
    if (isHttp2 && ended && stream.stream.rstCode === 0) check.end();
    if (check.problem !== undefined)
      console.log(JSON.stringify({ violation: check.problem, at: new Date().toISOString(), what }));
    else if (check.received === check.total && stream.readableEnded) counts.whole += 1;
    else counts.cut += 1;
  });
  receive(stream, check, pace, isHttp2 ? 'close' : 'end');
}

function serveTcp(socket) {
  socket.on('error', () => undefined);
  let head = '';
  const onData = (chunk) => {
    head += chunk.toString('latin1');
    const end = head.indexOf('\n');
    if (end < 0) {
      if (head.length > MAX_HEAD) socket.destroy();
      return;
    }
    socket.off('data', onData);
    const what = JSON.parse(head.slice(0, end));
    const check = new Check(what.upSeed, what.up);
    const rest = globalThis.Buffer.from(head.slice(end + 1), 'latin1');
    if (rest.length > 0) check.take(rest);
    // A client that resets may do so in either direction: what it sent last is then lost with it.
    watch(what, socket, check, what.serverRead);
    send(socket, {
      seed: what.downSeed,
      total: what.down,
      pace: what.serverWrite,
      resetAt: what.serverResetAt,
      reset: () => socket.resetAndDestroy(),
    });
  };
  socket.on('data', onData);
}

function serveHttp(request, response, closing) {
  const what = JSON.parse(request.headers['x-stream']);
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  watch(what, request, new Check(what.upSeed, what.up), what.serverRead);
  if (closing) {
    response.useChunkedEncodingByDefault = false;
    response.shouldKeepAlive = false;
  } else if (what.length) response.setHeader('content-length', what.down);
  response.writeHead(200);
  // An answer that is over before its request was sent ends that too: the end waits for all of it.
  let end = () => undefined;
  request.on('end', () => end());
  request.on('close', () => {
    if (!request.readableEnded) response.destroy();
  });
  send(response, {
    mayEnd: (endIt) => {
      end = endIt;
      if (request.readableEnded) end();
    },
    seed: what.downSeed,
    total: what.down,
    pace: what.serverWrite,
    resetAt: what.serverResetAt,
    reset: () => {
      if (request.socket.resetAndDestroy !== undefined && request.httpVersionMajor === 1)
        request.socket.resetAndDestroy();
      else resetHttp2(response.stream, 2);
    },
  });
}

createServer({ allowHalfOpen: true, noDelay: true }, serveTcp).listen(9000);
// Node's five seconds would have it close connections just as they are used again, where the machine is busy: a race of HTTP/1.1
// itself, which loses requests without any mesh, and no subject here.
const keptLong = { keepAliveTimeout: 120_000 };
createHttp(keptLong, (request, response) => serveHttp(request, response, false)).listen(9001);
createHttp(keptLong, (request, response) => serveHttp(request, response, true)).listen(9002);
const http2 = createHttp2((request, response) => serveHttp(request, response, false));
http2.on('session', (session) => session.on('error', () => undefined));
http2.listen(9003);
process.on('SIGTERM', () => {
  console.log(JSON.stringify(counts));
  process.exit(0);
});
