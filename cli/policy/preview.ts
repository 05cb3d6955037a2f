import { explain, targetText } from '../why/explain.ts';
import type { Outcome, Way } from '../why/model.ts';
import type { World } from '../why/world.ts';
import type { SeenFlow } from './seen-flows.ts';

/** What a proposal changes for calls that were seen. */
export interface Change {
  readonly from: string;
  readonly to: string;
  readonly request?: string;
  readonly times: number;
  readonly before: Outcome;
  readonly after: Outcome;
  readonly endpoint?: string;
  /** The rule that would decide, and why. */
  readonly policy?: string;
  readonly reason?: string;
}

export interface Preview {
  /** Kinds of calls that were compared, and how many calls. */
  readonly flows: number;
  readonly calls: number;
  readonly leftOut: number;
  readonly cut: readonly Change[];
  readonly opened: readonly Change[];
}

/** Asks the mesh as it is and as it would be about each kind of call that was seen. */
export async function preview(
  before: World,
  after: World,
  flows: readonly SeenFlow[],
  leftOut: number,
): Promise<Preview> {
  const changes = (await Promise.all(flows.map((flow) => compare(before, after, flow)))).flat();
  const byTimes = (a: Change, b: Change): number => b.times - a.times;
  return {
    flows: flows.length,
    calls: flows.reduce((sum, { times }) => sum + times, 0),
    leftOut,
    cut: changes.filter((change) => change.before === 'allowed').sort(byTimes),
    opened: changes.filter((change) => change.after === 'allowed').sort(byTimes),
  };
}

async function compare(before: World, after: World, flow: SeenFlow): Promise<Change[]> {
  const { question, endpoint, times } = flow;
  const [was, is] = await Promise.all(
    [before, after].map(async (world) => wayOf((await explain(world, question)).ways, endpoint)),
  );
  if (was === undefined || is === undefined || was.outcome === is.outcome) return [];
  if (was.outcome !== 'allowed' && is.outcome !== 'allowed') return [];
  const { source, target, port, request } = question;
  return [
    {
      from: `${source.namespace}/${source.name}`,
      to: `${targetText(target)} port ${port}`,
      ...(request && { request: `${request.method} ${request.path}` }),
      ...{ times, before: was.outcome, after: is.outcome },
      ...(endpoint !== undefined && { endpoint }),
      ...(is.policy !== undefined && { policy: is.policy }),
      ...(is.reason !== undefined && { reason: is.reason }),
    },
  ];
}

/** The way to the pod that answered; else the worst one, since any may be chosen. */
function wayOf(ways: readonly Way[], endpoint: string | undefined): Way | undefined {
  const own = ways.find((way) => endpoint !== undefined && way.endpoint === `pod ${endpoint}`);
  return own ?? ways.find(({ outcome }) => outcome !== 'allowed') ?? ways[0];
}
