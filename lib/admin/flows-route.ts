import type { EventsWanted } from '../flow/event.ts';
import type { FlowHub } from '../flow/hub.ts';
import { textAnswer, type Answer, type StreamAnswer } from './http-routes.ts';

export interface FlowsAction {
  readonly flows: FlowHub;
}

const WANTED: readonly EventsWanted[] = ['none', 'notable', 'all'];

/** GET /flows?events=none|notable|all: the flow stream, until its reader goes (decision 0145); windows alone without a query. */
export function flowsRoute({ flows }: FlowsAction): (query: URLSearchParams) => Answer | StreamAnswer {
  return (query) => {
    const asked = query.get('events') ?? 'none';
    const wanted = WANTED.find((each) => each === asked);
    if (wanted === undefined) return textAnswer(`events must be one of ${WANTED.join(', ')}`, 400);
    return {
      stream: (response) => {
        if (flows.serve(response, wanted)) return;
        response.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' });
        response.end('too many read the flows already\n');
      },
    };
  };
}
