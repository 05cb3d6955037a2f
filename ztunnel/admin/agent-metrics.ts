import { get } from 'node:http';
import { textAnswer, type Answer, type Handler } from '../../lib/admin/http-routes.ts';
import { errorText } from '../../lib/loam-error.ts';

const TIMEOUT_MS = 4_000;
/**
 * An answer is given again for so long, and the agent is asked by one at a time: everybody may ask at this port, and the agent has pods
 * to start meanwhile.
 */
const FRESH_MS = 1_000;
/** More than the page of a node with as many pods as the kernel's maps hold. */
const MAX_BYTES = 16 * 2 ** 20;

/**
 * GET /agent/metrics: the metrics of the node's agent, which shares the node's ports and opens none of its own (decision 0160).
 *
 * @param socketPath of the agent's status
 * @returns 502 with the reason where the agent does not answer
 */
export function agentMetricsRoute(socketPath: string, now = () => performance.now()): Handler {
  let answer: Promise<Answer> | undefined;
  let until = Infinity;
  return () => {
    if (answer !== undefined && now() < until) return answer;
    until = Infinity;
    answer = askOrSay(socketPath).finally(() => {
      until = now() + FRESH_MS;
    });
    return answer;
  };
}

async function askOrSay(socketPath: string): Promise<Answer> {
  try {
    return await ask(socketPath);
  } catch (error) {
    return textAnswer(`the agent does not answer at ${socketPath}: ${errorText(error)}`, 502);
  }
}

function ask(socketPath: string): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const asked = get({ socketPath, path: '/metrics', agent: false, signal }, (response) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    response.on('data', (part: Buffer) => {
      parts.push(part);
      bytes += part.length;
      if (bytes > MAX_BYTES) response.destroy(new Error(`more than ${MAX_BYTES} bytes`));
    });
    response.on('error', reject);
    response.on('end', () => {
      const body = Buffer.concat(parts).toString();
      const { statusCode = 502, headers } = response;
      if (statusCode === 200)
        resolve({ status: 200, type: headers['content-type'] ?? 'text/plain; version=0.0.4', body });
      else reject(new Error(`status ${statusCode}`));
    });
  });
  asked.on('error', reject);
  return promise;
}
