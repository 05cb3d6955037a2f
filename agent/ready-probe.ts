/**
 * Whether the agent on this node is ready: for the kubelet, since the agent shares the node's ports and opens none of its own.
 * Exits with 0 when it is; else with 1, and says what it waits for. Given the path of a page as well, it prints that page: for
 * whoever may execute in the agent's pod, since the agent answers on a socket of root's alone.
 *
 *     node ready-probe.js /run/loam/agent.sock [/status]
 */
import { get } from 'node:http';

const TIMEOUT_MS = 4_000;

function fail(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

const [socketPath = '', page] = process.argv.slice(2);
get({ socketPath, path: page ?? '/healthz/ready', timeout: TIMEOUT_MS }, (response) => {
  let text = '';
  response.setEncoding('utf8');
  response.on('data', (part: string) => (text += part));
  response.on('error', (error) => fail(error.message));
  response.on('end', () => {
    if (response.statusCode !== 200) fail(text.trim());
    process.stdout.write(page === undefined ? '' : text, () => process.exit(0));
  });
})
  .on('timeout', () => fail(`${socketPath}: no answer for ${TIMEOUT_MS} ms`))
  .on('error', (error) => fail(error.message));
