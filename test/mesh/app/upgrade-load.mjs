// The two ends of the upgrade tests: an echo server, and a client that keeps streams open and makes new connections
// all the time, and checks every byte. `upgrade-load.mjs server PORT…` or
// `upgrade-load.mjs client HOST PORT STREAMS WORKERS PAUSE_MS [CONNECTIONS]`; the client ends when its input ends or, where a
// number of connections is given, also after so many, and prints one line of JSON.
// Once all its streams carry something it says so.
import console from 'node:console';
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const [role, ...args] = process.argv.slice(2);
/** What a new connection may take, from connect to the last byte. */
const CONNECTION_MS = 60_000;

/** A repeatable stream of bytes that never repeats a block: counted blocks of 4 bytes, scrambled by the seed. */
function bytesOf(seed, offset, length) {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 1) {
    const at = offset + i;
    let x = Math.imul((at >>> 2) ^ seed, 0x9e3779b1);
    x ^= x >>> 15;
    x = Math.imul(x, 0x85ebca77);
    bytes[i] = (x >>> (8 * (at & 3))) & 0xff;
  }
  return bytes;
}

function serve(port) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.listen({ port, host: '::', backlog: 4096 }, () => console.log(JSON.stringify({ listening: port })));
}

/** Keeps one stream busy until `over`; what comes back is compared byte by byte. */
async function stream(host, port, seed, over, pauseMs, onOpen) {
  const socket = connect({ host, port, allowHalfOpen: true });
  const sent = createHash('sha256');
  const received = createHash('sha256');
  let out = 0;
  let back = 0;
  let wrong;
  const ended = new Promise((resolve) => {
    socket.once('data', onOpen);
    socket.on('data', (chunk) => {
      received.update(chunk);
      if (!chunk.equals(bytesOf(seed, back, chunk.length))) wrong ??= `byte ${back} or after it`;
      back += chunk.length;
    });
    socket.on('end', () => resolve('end'));
    socket.on('error', (error) => resolve(error.code));
    socket.on('close', () => resolve('close'));
  });
  while (!over.aborted) {
    const chunk = bytesOf(seed, out, 256 + ((seed * 37 + out) % 4096));
    sent.update(chunk);
    out += chunk.length;
    if (!socket.write(chunk)) {
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), ended]);
    }
    if ((await Promise.race([ended, sleep(pauseMs + (seed % pauseMs))])) !== undefined) break;
  }
  socket.end();
  const end = await Promise.race([ended, sleep(CONNECTION_MS, 'timeout')]);
  socket.destroy();
  const whole = wrong === undefined && back === out && sent.digest('hex') === received.digest('hex');
  if (end === 'end' && whole) return { bytes: out };
  return {
    bytes: out,
    failure: `${end}: ${back} of ${out} bytes came back${wrong ? `, wrong at ${wrong}` : ''}`,
  };
}

/** One connection: a request, a half-close, the echo, the end. */
function fresh(host, port, seed) {
  return new Promise((resolve) => {
    const request = bytesOf(seed, 0, 64 + (seed % 512));
    const socket = connect({ host, port, allowHalfOpen: true });
    const chunks = [];
    const done = (failure) => {
      socket.destroy();
      resolve(failure);
    };
    socket.setTimeout(CONNECTION_MS, () => done('timeout'));
    socket.on('connect', () => socket.end(request));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', (error) => done(error.code));
    socket.on('end', () => {
      const echo = Uint8Array.from(globalThis.Buffer.concat(chunks));
      done(
        globalThis.Buffer.compare(echo, request) === 0
          ? undefined
          : `${echo.length} of ${request.length} bytes`,
      );
    });
  });
}

if (role === 'server') {
  for (const port of args) serve(Number(port));
} else {
  const [host, portText, streamsText, workersText, pauseText, limitText] = args;
  const port = Number(portText);
  const limit = limitText === undefined ? Infinity : Number(limitText);
  const over = new globalThis.AbortController();
  process.stdin.on('end', () => over.abort());
  process.stdin.resume();
  // Many together say no more than a few: they shall be open, not fill the machine.
  const pauseMs = Math.max(100, 5 * Number(streamsText));
  let toOpen = Number(streamsText);
  const opened = () => {
    toOpen -= 1;
    if (toOpen === 0) console.log(JSON.stringify({ open: Number(streamsText) }));
  };
  const streams = Array.from({ length: Number(streamsText) }, (_, i) =>
    stream(host, port, i + 1, over.signal, pauseMs, opened),
  );
  const failures = {};
  let made = 0;
  let failed = 0;
  const worker = async () => {
    while (!over.signal.aborted && made < limit) {
      made += 1;
      const failure = await fresh(host, port, made);
      if (failure !== undefined) {
        failed += 1;
        failures[failure] = (failures[failure] ?? 0) + 1;
      }
      await sleep(Number(pauseText));
    }
  };
  console.log(JSON.stringify({ started: true }));
  const workers = Array.from({ length: Number(workersText) }, worker);
  if (Number.isFinite(limit))
    void Promise.all(workers).then(() => console.log(JSON.stringify({ enough: made })));
  await Promise.all(workers);
  const ends = await Promise.all(streams);
  const cut = ends.filter(({ failure }) => failure !== undefined);
  console.log(
    JSON.stringify({
      ...{ made, failed, failures, streams: ends.length, cut: cut.length },
      cuts: cut.slice(0, 5).map(({ failure }) => failure),
      bytes: ends.reduce((sum, { bytes }) => sum + bytes, 0),
    }),
  );
}
