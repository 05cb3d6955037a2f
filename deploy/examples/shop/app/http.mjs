// What the shop's services share: one small HTTP server, and calls to one another.
import console from 'node:console';
import { createServer, request } from 'node:http';
import process from 'node:process';
import { setTimeout } from 'node:timers';

// The port of the Services, too: so that the shop goes on when it leaves the mesh, and a name means the pods themselves.
const PORT = 80;
const TIMEOUT_MS = 5000;

/**
 * Serves JSON: `answer(path, body)` gives the value, or throws.
 */
export function serve(answer) {
  const server = createServer(async (incoming, response) => {
    let body = '';
    try {
      for await (const chunk of incoming) body += chunk;
      const value = await answer(incoming.url, body, incoming.socket.remoteAddress);
      response.setHeader('content-type', 'application/json');
      response.end(`${JSON.stringify(value)}\n`);
    } catch (error) {
      response.statusCode = 502;
      response.end(`${JSON.stringify({ error: error.message })}\n`);
    }
  });
  server.listen(PORT, () => console.log(`${process.env.POD_NAME ?? 'it'} listens on ${PORT}`));
}

/**
 * One call, on a connection of its own: `call('http://payments/pay', { card: '…' })`.
 */
export function call(url, body) {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      { method: body === undefined ? 'GET' : 'POST', agent: false, timeout: TIMEOUT_MS },
      (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk));
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(text));
          else reject(new Error(`${url} answers ${response.statusCode}: ${text.trim()}`));
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
