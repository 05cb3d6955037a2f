// What the shop's services share: one small HTTP server, and calls to one another.
import console from 'node:console';
import { createServer, request } from 'node:http';
import process from 'node:process';
import { setTimeout } from 'node:timers';

// The port of the Services, too: so that the shop goes on when it leaves the mesh, and a name means the pods themselves.
const PORT = 80;
const TIMEOUT_MS = 5000;
const LAST_ANSWERS_MS = 100;
/** By these a trace holds together: whoever calls somebody because of a request hands them on (W3C Trace Context). */
const HANDED_ON = ['traceparent', 'tracestate', 'x-request-id'];

/**
 * Serves JSON: `answer({ method, path, body, trace })` gives the value, or throws. `trace` is for {@link call}s that serve the
 * same request. An error's `status` is that of the response; without one it is 502.
 *
 * @returns `down()` and `up()`, which end and begin to listen
 */
export function serve(answer) {
  const server = createServer(async (incoming, response) => {
    const { method, url: path, headers } = incoming;
    const trace = Object.fromEntries(Object.entries(headers).filter(([name]) => HANDED_ON.includes(name)));
    let body = '';
    try {
      for await (const chunk of incoming) body += chunk;
      const value = await answer({ method, path, body, trace });
      response.setHeader('content-type', 'application/json');
      response.end(`${JSON.stringify(value)}\n`);
    } catch (error) {
      response.statusCode = error.status ?? 502;
      response.end(`${JSON.stringify({ error: error.message })}\n`);
    }
  });
  const up = () => server.listen(PORT);
  const down = () => {
    server.close();
    // What is under way has a moment yet; a connection that is kept for further requests ends all the same.
    setTimeout(() => server.closeAllConnections(), LAST_ANSWERS_MS);
  };
  server.once('listening', () => console.log(`${process.env.POD_NAME ?? 'it'} listens on ${PORT}`));
  up();
  return { up, down };
}

/**
 * One call, on a connection of its own: `call('http://payments/charge', { card: '…' }, trace)`. Without a body it is a GET.
 */
export function call(url, body, trace = {}) {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method: body === undefined ? 'GET' : 'POST',
        headers: trace,
        agent: false,
        timeout: TIMEOUT_MS,
      },
      (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk));
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode !== 200) {
            reject(new Error(`${url} answers ${response.statusCode}: ${text.trim()}`));
            return;
          }
          try {
            resolve(JSON.parse(text));
          } catch {
            // As of a host outside of the mesh, while Loam is off.
            reject(new Error(`${url} answers with something else than JSON`));
          }
        });
      },
    );
    sent.on('timeout', () => sent.destroy(new Error(`${url} does not answer`)));
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/**
 * Does something again and again, a number of times a second, however long one takes; says when it begins and stops
 * to work.
 */
export async function everySecond(times, what, body) {
  let last;
  for (;;) {
    const started = Date.now();
    const said = await body().then(
      () => `${what}: works`,
      (error) => `${what}: ${error.message}`,
    );
    if (said !== last) console.log(said);
    last = said;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / times - (Date.now() - started))));
  }
}
