import { flowsRoute, type FlowsAction } from '../../lib/admin/flows-route.ts';
import { jsonAnswer, type Routes } from '../../lib/admin/http-routes.ts';
import { programRoutes, type ProgramActions } from '../../lib/admin/program-routes.ts';
import type { Readiness } from '../../lib/admin/readiness.ts';

export interface AdminActions extends ProgramActions, FlowsAction {
  upstreams(): Promise<unknown>;
}

/** What the admin port serves. */
export function adminRoutes(actions: AdminActions, readiness: Readiness): Routes {
  return programRoutes(actions, readiness, {
    'GET /upstreams': async () => jsonAnswer({ workers: await actions.upstreams() }),
    'GET /flows': flowsRoute(actions),
  });
}
