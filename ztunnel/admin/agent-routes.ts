import { textAnswer, type Answer, type Handler, type Routes } from '../../lib/admin/http-routes.ts';
import { errorText } from '../../lib/loam-error.ts';
import { askAgent } from './ask-agent.ts';

/** Of an answer with the status that the agent gave it. */
const PAGES = [
  ['GET', '/status'],
  ['GET', '/healthz/ready'],
  ['GET', '/logging'],
  ['POST', '/logging'],
] as const;

/**
 * Pages of the node's agent below `/agent`, for who may ask at ztunnel's admin: the agent is on the node's network and listens on a
 * unix socket alone, where nobody gets without a right that is as good as root on the node (decision 0169).
 *
 * @param socketPath of the agent's status
 * @returns answer 502 with the reason where the agent does not answer
 */
export function agentRoutes(socketPath: string): Routes {
  return Object.fromEntries(
    PAGES.map(([method, path]): [string, Handler] => [
      `${method} /agent${path}`,
      (query) => relayed(socketPath, method, path, query),
    ]),
  );
}

async function relayed(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  query: URLSearchParams,
): Promise<Answer> {
  const asked = query.size === 0 ? path : `${path}?${query.toString()}`;
  try {
    return await askAgent(socketPath, method, asked);
  } catch (error) {
    return textAnswer(`the agent does not answer at ${socketPath}: ${errorText(error)}`, 502);
  }
}
