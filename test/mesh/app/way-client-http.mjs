import http from 'node:http';
import http2 from 'node:http2';
import { createHash } from 'node:crypto';
import { Buffer } from 'node:buffer';
import { setTimeout } from 'node:timers';
import { clearTimeout } from 'node:timers';
import { grpcOutcome } from './way-client-grpc.mjs';

const KEEP_TEXT = 64 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, 'u');
const agents = new Map();
const sessions = new Map();

function agentFor({ sockets = 1, fresh = false }) {
  if (fresh) return new http.Agent({ keepAlive: false });
  if (!agents.has(sockets)) agents.set(sockets, new http.Agent({ keepAlive: true, maxSockets: sockets }));
  return agents.get(sockets);
}

function collector() {
  const hash = createHash('sha256');
  const chunks = [];
  let bytes = 0;
  return {
    take: (chunk) => {
      if (bytes < KEEP_TEXT) chunks.push(chunk);
      bytes += chunk.length;
      hash.update(chunk);
    },
    get: () => ({ bytes, sha256: hash.digest('hex'), text: Buffer.concat(chunks).toString() }),
  };
}

/** Sends a text, so many bytes, or nothing. */
function sendBody(stream, { body, size, expect }, answered) {
  if (size === undefined) return void stream.end(body);
  let left = size;
  const more = () => {
    while (left > 0) {
      const now = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
      left -= now.length;
      if (!stream.write(now)) return void stream.once('drain', more);
    }
    stream.end();
  };
  if (expect) stream.once('continue', more);
  else more();
  answered?.();
}

/**
 * One request to its end.
 *
 * @returns status, headers, rawHeaders, trailers, text (its beginning), bytes, sha256, informational statuses; or error
 */
export function request(o) {
  return o.proto === 'h2' ? request2(o) : request1(o);
}

function request1(o) {
  const { host, port, method = 'GET', path = '/', headers = {}, timeoutMs = 20_000, trailers, size } = o;
  return new Promise((resolve) => {
    const informational = [];
    const sent = { ...headers, ...(o.expect && { expect: '100-continue' }) };
    if (trailers)
      Object.assign(sent, { trailer: Object.keys(trailers).join(', '), 'transfer-encoding': 'chunked' });
    else if (size !== undefined && !o.chunked) sent['content-length'] = size;
    const req = http.request({ host, port, method, path, headers: sent, agent: agentFor(o) });
    const timer = setTimeout(() => req.destroy(new Error('timeout')), timeoutMs);
    const end = (result) => {
      clearTimeout(timer);
      resolve({ informational, reused: req.reusedSocket, ...result });
    };
    req.on('error', (error) => end({ error: error.code ?? error.message }));
    req.on('information', ({ statusCode }) => informational.push(statusCode));
    req.on('response', (res) => {
      const all = collector();
      const head = { status: res.statusCode, headers: res.headers, rawHeaders: res.rawHeaders };
      res.on('data', all.take);
      res.on('error', (error) => end({ ...head, ...all.get(), error: error.code ?? error.message }));
      res.on('end', () => end({ ...head, ...all.get(), trailers: res.trailers }));
    });
    if (trailers) req.addTrailers(trailers);
    sendBody(req, o);
  });
}

function sessionFor({ host, port, fresh }) {
  const key = `${host}:${port}`;
  const known = sessions.get(key);
  if (known !== undefined && !known.closed && !known.destroyed && !fresh) return known;
  const session = http2.connect(`http://${key}`);
  session.on('error', () => undefined);
  sessions.set(key, session);
  return session;
}

function request2(o) {
  const {
    host,
    port,
    method = 'GET',
    path = '/',
    headers = {},
    timeoutMs = 20_000,
    trailers,
    size,
    body,
  } = o;
  return new Promise((resolve) => {
    const hasBody = size !== undefined || body !== undefined || trailers !== undefined;
    const informational = [];
    const all = collector();
    const req = sessionFor(o).request(
      { ':method': method, ':path': path, ...headers, ...(o.expect && { expect: '100-continue' }) },
      { endStream: !hasBody, waitForTrailers: trailers !== undefined },
    );
    const timer = setTimeout(() => req.destroy(new Error('timeout')), timeoutMs);
    let head = {};
    let got = {};
    let failed;
    req.on('error', (error) => (failed = error.code ?? error.message));
    req.on('headers', (h) => informational.push(h[':status']));
    req.on('response', (h) => (head = { status: h[':status'], headers: { ...h } }));
    req.on('trailers', (t) => (got = { ...t }));
    req.on('data', all.take);
    req.on('wantTrailers', () => req.sendTrailers(trailers));
    req.on('close', () => {
      clearTimeout(timer);
      if (o.fresh) sessions.get(`${host}:${port}`)?.close();
      if (failed === 'ERR_HTTP2_STREAM_ERROR' || (failed === undefined && req.rstCode !== 0))
        failed = `RST ${req.rstCode}`;
      const refused = req.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM;
      resolve({
        refused,
        ...head,
        ...all.get(),
        trailers: got,
        informational,
        ...(failed && { error: failed }),
      });
    });
    if (hasBody) sendBody(req, o);
  });
}

/** `200 v1`, or how it failed. */
const outcome = (result) =>
  result.error === undefined ? `${result.status} ${result.headers['x-pod'] ?? '-'}` : `error ${result.error}`;

/** So many requests, a few at a time. @returns counts by outcome */
export async function burst({ n, sockets = 8, ...o }) {
  const counts = {};
  let left = n;
  const one = async () => {
    while (left > 0) {
      left -= 1;
      const key = outcome(await request({ sockets, ...o }));
      counts[key] = (counts[key] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: sockets }, one));
  return { counts };
}

/**
 * What a server refuses unprocessed, as after its GOAWAY, a client sends again (RFC 9113 section 8.7), as those of Go and gRPC do;
 * Node's leaves it to its user.
 */
async function untilTaken(o) {
  for (;;) {
    const result = await request(o);
    if (!result.refused) return result;
  }
}

const loads = new Map();
/** Goes on with requests (or calls, where `proto` is `grpc`) until it is stopped. */
export function loadStart({ id, sockets = 4, ...o }) {
  const load = { running: true, counts: {} };
  const one = async () => {
    while (load.running) {
      const key = o.proto === 'grpc' ? await grpcOutcome(o) : outcome(await untilTaken({ sockets, ...o }));
      load.counts[key] = (load.counts[key] ?? 0) + 1;
      if (key.startsWith('error')) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  load.done = Promise.all(Array.from({ length: sockets }, one));
  loads.set(id, load);
  return {};
}
export async function loadStop({ id }) {
  const load = loads.get(id);
  load.running = false;
  await load.done;
  return { counts: load.counts };
}

/** Asks for a download and reads nothing of it, until `/sent` no longer grows; then reads it all. */
export async function stalled({ host, port, bytes, id }) {
  const res = await new Promise((resolve, reject) => {
    http
      .get(
        { host, port, path: `/download?bytes=${bytes}&id=${id}`, agent: agentFor({ fresh: true }) },
        resolve,
      )
      .on('error', reject);
  });
  res.pause();
  const sent = async () => JSON.parse((await request({ host, port, path: `/sent?id=${id}` })).text).bytes;
  let before = -1;
  let now = await sent();
  while (now !== before) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    before = now;
    now = await sent();
  }
  const all = collector();
  res.on('data', all.take);
  res.resume();
  await new Promise((resolve, reject) => res.on('end', resolve).on('error', reject));
  return { stalledAt: now, bytes: all.get().bytes };
}
