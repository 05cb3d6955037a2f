import { textAnswer, type Answer, type Handler } from '../../lib/admin/http-routes.ts';
import { errorText } from '../../lib/loam-error.ts';
import { askAgent } from './ask-agent.ts';

/**
 * An answer is given again for so long, and the agent is asked by one at a time: everybody may ask at this port, and the agent has pods
 * to start meanwhile.
 */
const FRESH_MS = 1_000;

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
    const answer = await askAgent(socketPath, 'GET', '/metrics');
    if (answer.status === 200) return answer;
    throw new Error(`status ${answer.status}`);
  } catch (error) {
    return textAnswer(`the agent does not answer at ${socketPath}: ${errorText(error)}`, 502);
  }
}
