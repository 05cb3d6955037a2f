// Requests at a steady rate, by HTTP/1.1 on kept and on new connections and by HTTP/2, half of them with a body.
// Arguments: host, port, requests per second. SIGTERM ends it: one line of JSON with all that was counted.
import http from 'node:http';
import http2 from 'node:http2';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { clearInterval, clearTimeout, setInterval, setTimeout } from 'node:timers';

const [host, port, rate] = process.argv.slice(2);
const GIVE_UP_MS = 30_000;
const PER_SESSION = 500;
/** Below what a server admits at once: until its SETTINGS come, Node would open more, and they would rightly be refused. */
const MAX_STREAMS = 60;
const kept = new http.Agent({ keepAlive: true, maxSockets: 50 });
const result = { sent: 0, good: 0, goodPosts: 0, slowestMs: 0, failures: [] };
let open = 0;
let session;
let onSession = 0;
let streams = 0;

function settle(what, started, status, flags, bytes, why) {
  open -= 1;
  const ms = Math.round(performance.now() - started);
  if (why === undefined && status === 200 && bytes === String(what.body)) {
    result.good += 1;
    if (what.method === 'POST') result.goodPosts += 1;
    result.slowestMs = Math.max(result.slowestMs, ms);
    return;
  }
  const failure = {
    ...what,
    status,
    flags,
    why: why ?? (status === 200 ? `wrong answer ${bytes}` : 'status'),
    ms,
    at: new Date().toISOString(),
  };
  result.failures.push(failure);
}

function byHttp1(what, agent) {
  const started = performance.now();
  let done = false;
  const end = (status, flags, bytes, why) => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    settle(what, started, status, flags, bytes, why);
  };
  const request = http.request({ host, port, method: what.method, agent, path: what.path }, (response) => {
    let text = '';
    const flags = response.headers['x-loam-response-flags'];
    response.on('data', (chunk) => (text += chunk));
    response.on('error', () => end(response.statusCode, flags, text, 'broke off'));
    response.on('end', () => end(response.statusCode, flags, text.trim()));
  });
  const timer = setTimeout(() => {
    end(undefined, undefined, undefined, 'no answer');
    request.destroy();
  }, GIVE_UP_MS);
  request.on('error', (error) => end(undefined, undefined, undefined, error.code ?? error.message));
  request.end(what.body > 0 ? 'x'.repeat(what.body) : undefined);
}

function byHttp2(what) {
  if (session === undefined || session.closed || session.destroyed || ++onSession > PER_SESSION) {
    session?.close();
    session = http2.connect(`http://${host}:${port}`);
    session.on('error', () => undefined);
    onSession = 0;
  }
  streams += 1;
  const started = performance.now();
  const stream = session.request(
    { ':method': what.method, ':path': what.path },
    { endStream: what.body === 0 },
  );
  let status;
  let flags;
  let text = '';
  let error;
  const timer = setTimeout(() => {
    error = 'no answer';
    stream.close(8);
  }, GIVE_UP_MS);
  stream.on('response', (head) => {
    status = head[':status'];
    flags = head['x-loam-response-flags'];
  });
  stream.on('data', (chunk) => (text += chunk));
  stream.on('error', (e) => (error ??= status === undefined ? e.code : 'broke off'));
  stream.on('close', () => {
    streams -= 1;
    clearTimeout(timer);
    if (status === undefined) error ??= `closed with ${stream.rstCode}`;
    else if (stream.rstCode !== 0) error ??= 'broke off';
    settle(what, started, status, flags, text.trim(), error);
  });
  if (what.body > 0) stream.end('x'.repeat(what.body));
}

let n = 0;
const timer = setInterval(
  () => {
    n += 1;
    const method = n % 4 === 0 ? 'POST' : n % 4 === 2 ? 'PUT' : 'GET';
    const what = {
      path: `/${n}`,
      method,
      how: ['kept', 'http2', 'kept', 'http2', 'new'][n % 5],
      body: method === 'GET' ? 0 : 1 + ((n * 7919) % 20_000),
    };
    result.sent += 1;
    open += 1;
    if (what.how === 'http2' && streams < MAX_STREAMS) byHttp2(what);
    else byHttp1(what, what.how === 'new' ? new http.Agent() : kept);
  },
  1_000 / Number(rate),
);

process.on('SIGTERM', () => {
  clearInterval(timer);
  const wait = setInterval(() => {
    if (open > 0) return;
    clearInterval(wait);
    process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
  }, 50);
});
