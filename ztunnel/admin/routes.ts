import { flowsRoute, type FlowsAction } from '../../lib/admin/flows-route.ts';
import { jsonAnswer, type Routes } from '../../lib/admin/http-routes.ts';
import { programRoutes, type ProgramActions } from '../../lib/admin/program-routes.ts';
import type { Readiness } from '../../lib/admin/readiness.ts';
import type { ConnectionRow } from '../proxy/connection-registry.ts';

export interface AdminActions extends ProgramActions, FlowsAction {
  connections(): Promise<readonly ConnectionRow[]>;
}

/** What the admin port serves. */
export function adminRoutes(actions: AdminActions, readiness: Readiness): Routes {
  return programRoutes(actions, readiness, {
    'GET /connections': async () => jsonAnswer({ connections: await actions.connections() }),
    'GET /flows': flowsRoute(actions),
  });
}
