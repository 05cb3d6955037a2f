// Tries connections and requests of one pod: reads [{id, ip, port, path?, method?, host?}] from its input, and says of each how
// it ended: {id, status, pod} of an answer, {id, greeted} of a server that speaks first, {id, error} of the rest.
import console from 'node:console';
import { request } from 'node:http';
import { connect } from 'node:net';
import process from 'node:process';

const patience = Number(process.env.LOAM_TEST_PATIENCE ?? 1);
const TIMEOUT_MS = 60_000 * patience;
const AT_ONCE = 4;

function ask({ ip, port, method, path, host }) {
  return new Promise((resolve) => {
    const sent = request({
      host: ip,
      port,
      method,
      path,
      agent: false,
      headers: { host },
      timeout: TIMEOUT_MS,
    });
    sent.on('response', (response) => {
      response.resume();
      resolve({ status: response.statusCode, pod: response.headers['x-pod'] });
    });
    sent.on('timeout', () => sent.destroy(new Error('timeout')));
    sent.on('error', (error) => resolve({ error: error.code ?? error.message }));
    sent.end();
  });
}

function listen({ ip, port }) {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port });
    const done = (end) => {
      socket.destroy();
      resolve(end);
    };
    socket.setTimeout(TIMEOUT_MS, () => done({ error: 'timeout' }));
    socket.once('data', (chunk) => done({ greeted: chunk.toString() }));
    socket.once('end', () => done({ error: 'closed' }));
    socket.once('error', (error) => done({ error: error.code }));
  });
}

let text = '';
for await (const chunk of process.stdin) text += chunk;
const wanted = JSON.parse(text);
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let next = wanted.pop(); next !== undefined; next = wanted.pop())
      console.log(
        JSON.stringify({ id: next.id, ...(await (next.path === undefined ? listen(next) : ask(next))) }),
      );
  }),
);
