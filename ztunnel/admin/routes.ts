import { flowsRoute, type FlowsAction } from '../../lib/admin/flows-route.ts';
import { jsonAnswer, type Routes } from '../../lib/admin/http-routes.ts';
import { metricsRoute, programRoutes, type ProgramActions } from '../../lib/admin/program-routes.ts';
import type { Readiness } from '../../lib/admin/readiness.ts';
import { agentMetricsRoute } from './agent-metrics.ts';
import { agentRoutes } from './agent-routes.ts';
import type { ConnectionRow } from '../proxy/connection-registry.ts';

export interface AdminActions extends ProgramActions, FlowsAction {
  connections(): Promise<readonly ConnectionRow[]>;
}

/**
 * What the admin port serves.
 *
 * @param agentStatus path of the socket of the node's agent, which is asked on behalf of who asks here
 */
export function adminRoutes(
  actions: AdminActions,
  readiness: Readiness,
  agentStatus: string | undefined,
): Routes {
  return programRoutes(actions, readiness, {
    'GET /connections': async () => jsonAnswer({ connections: await actions.connections() }),
    'GET /flows': flowsRoute(actions),
    ...(agentStatus !== undefined && agentRoutes(agentStatus)),
  });
}

/**
 * What the port for Prometheus serves.
 *
 * @param agentStatus path of the socket of the node's agent, whose metrics are shown too
 */
export function metricsRoutes(
  actions: Pick<AdminActions, 'metrics'>,
  agentStatus: string | undefined,
): Routes {
  return {
    'GET /metrics': metricsRoute(actions),
    ...(agentStatus !== undefined && { 'GET /agent/metrics': agentMetricsRoute(agentStatus) }),
  };
}
