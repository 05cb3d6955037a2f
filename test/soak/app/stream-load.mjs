// The near end of the soak's byte streams: `stream-load.mjs <seed> <concurrent> <route>…`, a route being
// `kind:host:port` with kind tcp, h1 or h2. Reads commands from its input (`go`, `stop`, `quit`) and answers each by a line.
import http from 'node:http';
import http2 from 'node:http2';
import { connect } from 'node:net';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { clearTimeout, setTimeout } from 'node:timers';
import { Check, receive, resetHttp2, send } from './stream-bytes.mjs';

/** A stream that takes longer hangs. The slowest that there are take about 20 s by themselves. */
const STUCK_MS = 180_000;
const MAX_BYTES = 4 << 20;
const PER_SESSION = 40;

const [seedText, concurrentText, ...routes] = process.argv.slice(2);
const concurrent = Number(concurrentText);
let state = Number(seedText) >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const between = (low, high) => Math.floor(low + random() * (high - low));
const oneIn = (n) => random() < 1 / n;

const fresh = () => ({
  whole: 0,
  reset: 0,
  cut: 0,
  refused: 0,
  bytes: 0,
  byRoute: {},
  cuts: [],
  violations: [],
});
let counts = fresh();
let running = false;
let open = 0;
let number = 0;

/** From nothing to 4 MB, small ones most often. */
function size() {
  if (oneIn(12)) return 0;
  return Math.floor(2 ** (random() * Math.log2(MAX_BYTES)));
}
function writePace(total) {
  if (!oneIn(4)) return { chunk: 64 * 1024, waitMs: 0 };
  return { chunk: Math.max(1024, Math.ceil(total / between(20, 200))), waitMs: between(5, 50) };
}
function readPace(total) {
  const every = Math.max(16 * 1024, Math.ceil(total / between(10, 60)));
  return { every, waitMs: oneIn(4) ? between(10, 100) : 0, firstMs: oneIn(10) ? between(200, 3_000) : 0 };
}

function wish() {
  const [up, down] = [size(), size()];
  const id = `${process.pid}-${number++}`;
  const who = oneIn(12) ? (oneIn(2) ? 'client' : 'server') : undefined;
  return {
    id,
    up,
    down,
    upSeed: between(1, 1e6),
    downSeed: between(1, 1e6),
    clientWrite: writePace(up),
    clientRead: readPace(down),
    serverWrite: writePace(down),
    serverRead: readPace(up),
    length: oneIn(2),
    ...(who === 'client' && up > 0 && { clientResetAt: between(0, up) }),
    ...(who === 'server' && down > 0 && { serverResetAt: between(0, down) }),
  };
}

/** Counts one stream's end. `error` is how it failed, if it did. */
function settle(route, what, check, started, sentAll, error) {
  open -= 1;
  counts.bytes += check.received;
  const of = (counts.byRoute[route] ??= { whole: 0, reset: 0, cut: 0 });
  const deliberate = what.clientResetAt !== undefined || what.serverResetAt !== undefined;
  if (check.problem !== undefined)
    counts.violations.push({ violation: check.problem, route, at: new Date().toISOString(), what });
  const whole = error === undefined && sentAll && check.received === check.total;
  const end = whole ? 'whole' : deliberate ? 'reset' : 'cut';
  counts[end] += 1;
  of[end] += 1;
  if (end === 'cut') {
    if (counts.cuts.length < 200)
      counts.cuts.push({
        route,
        id: what.id,
        error: error ?? 'not all was sent',
        received: check.received,
        down: what.down,
        up: what.up,
        ms: Date.now() - started,
        at: new Date().toISOString(),
      });
  }
  refill();
}

function once(route, what, check) {
  const started = Date.now();
  let done = false;
  const timer = setTimeout(() => {
    counts.violations.push({
      violation: `hangs after ${check.received} of ${check.total} bytes`,
      route,
      at: new Date().toISOString(),
      what,
    });
    end(true, 'hangs');
  }, STUCK_MS);
  const end = (sentAll, error) => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    settle(route, what, check, started, sentAll, error);
  };
  return end;
}

function byTcp(route, host, port, what) {
  const check = new Check(what.downSeed, what.down);
  const end = once(route, what, check);
  let error;
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
  socket.on('error', (e) => (error = e.code ?? e.message));
  socket.on('close', () => end(socket.writableFinished, error));
  socket.write(`${JSON.stringify(what)}\n`);
  receive(socket, check, what.clientRead);
  send(socket, {
    seed: what.upSeed,
    total: what.up,
    pace: what.clientWrite,
    resetAt: what.clientResetAt,
    reset: () => socket.resetAndDestroy(),
  });
}

const agents = new Map();
function byHttp1(route, host, port, what) {
  const check = new Check(what.downSeed, what.down);
  const end = once(route, what, check);
  let agent = agents.get(route);
  if (agent === undefined)
    agents.set(route, (agent = new http.Agent({ keepAlive: true, maxFreeSockets: 8 })));
  const request = http.request({
    host,
    port,
    agent: oneIn(3) ? new http.Agent() : agent,
    method: 'POST',
    headers: { 'x-stream': JSON.stringify(what), ...(what.length && { 'content-length': what.up }) },
  });
  let error;
  // Its own state is of the connection, which may be another request's already.
  let sentAll = false;
  request.on('finish', () => (sentAll = true));
  request.on('error', (e) => {
    error ??= e.code ?? e.message;
    end(false, error);
  });
  request.on('response', (response) => {
    if (response.statusCode !== 200) {
      counts.refused += 1;
      error = `status ${response.statusCode} ${response.headers['x-loam-response-flags'] ?? ''}`;
      response.resume();
      response.on('close', () => end(false, error));
      response.on('error', () => undefined);
      return;
    }
    receive(response, check, what.clientRead);
    response.on('error', (e) => (error ??= e.code ?? e.message));
    response.on('close', () => {
      if (!response.complete) error ??= 'broke off';
      // The server ends its answer when all of the request came, maybe before we are told that the last byte was taken.
      end(sentAll || response.complete, error);
    });
  });
  send(request, {
    seed: what.upSeed,
    total: what.up,
    pace: what.clientWrite,
    resetAt: what.clientResetAt,
    reset: () => {
      check.abandon();
      request.destroy();
    },
  });
}

const sessions = new Map();
/**
 * Opens a stream on the route's session, or on another once that carried enough. That one is closed when its last stream ended
 * and not before: nghttp2 sends GOAWAY ahead of the HEADERS of streams opened in the same turn, and Node's server then
 * refuses these. It did so in this very test, without any mesh, about twice in a thousand streams.
 */
function openStream(route, host, port, ...request) {
  let entry = sessions.get(route);
  if (entry === undefined || entry.session.closed || entry.session.destroyed || entry.used >= PER_SESSION) {
    if (entry !== undefined) closeWhenDone(entry, true);
    const session = http2.connect(`http://${host}:${port}`);
    session.on('error', () => undefined);
    sessions.set(route, (entry = { session, used: 0, open: 0, done: false }));
  }
  const { session } = entry;
  const mine = entry;
  mine.used += 1;
  mine.open += 1;
  const stream = session.request(...request);
  stream.once('close', () => {
    mine.open -= 1;
    closeWhenDone(mine, mine.done);
  });
  return stream;
}
function closeWhenDone(entry, done) {
  entry.done = done;
  if (done && entry.open === 0 && !entry.session.closed) entry.session.close();
}
function byHttp2(route, host, port, what) {
  const check = new Check(what.downSeed, what.down);
  const end = once(route, what, check);
  const stream = openStream(
    route,
    host,
    port,
    { ':method': 'POST', ':path': '/', 'x-stream': JSON.stringify(what) },
    { endStream: false },
  );
  let error;
  let status;
  stream.on('response', (headers) => {
    status = headers[':status'];
    if (status !== 200) {
      counts.refused += 1;
      error = `status ${status} ${headers['x-loam-response-flags'] ?? ''}`;
      stream.resume();
      return;
    }
    receive(stream, check, what.clientRead, 'close');
  });
  stream.on('error', (e) => (error ??= e.code ?? e.message));
  // What its session lets go of unread was cut, and a stream that says `end` only when it is destroyed as well.
  let ended = false;
  stream.prependOnceListener('end', () => (ended = !stream.destroyed));
  stream.on('aborted', () => (error ??= 'aborted'));
  stream.on('close', () => {
    if (stream.rstCode !== 0) error ??= `reset with ${stream.rstCode}`;
    if (!ended) error ??= 'closed before its end';
    if (error === undefined && status === 200) check.end();
    end(stream.writableFinished, error);
  });
  send(stream, {
    seed: what.upSeed,
    total: what.up,
    pace: what.clientWrite,
    resetAt: what.clientResetAt,
    reset: () => resetHttp2(stream, 8),
  });
}

function refill() {
  while (running && open < concurrent) {
    open += 1;
    const route = routes[Math.floor(random() * routes.length)];
    const [kind, host, port] = route.split(':');
    const what = wish();
    if (kind === 'tcp') byTcp(route, host, Number(port), what);
    else if (kind === 'h1') byHttp1(route, host, Number(port), what);
    else byHttp2(route, host, Number(port), what);
  }
}

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
createInterface({ input: process.stdin }).on('line', (command) => {
  if (command === 'go') {
    counts = fresh();
    running = true;
    refill();
    say({ going: true });
  } else if (command === 'stop') {
    running = false;
    const wait = globalThis.setInterval(() => {
      if (open > 0) return;
      globalThis.clearInterval(wait);
      for (const agent of agents.values()) agent.destroy();
      agents.clear();
      for (const entry of sessions.values()) closeWhenDone(entry, true);
      sessions.clear();
      say(counts);
    }, 50);
  } else process.exit(0);
});
say({ ready: true });
