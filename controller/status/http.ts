import type { Server } from 'node:http';
import { jsonAnswer, type Routes, serveRoutes, textAnswer } from '../../lib/admin/http-routes.ts';
import { metricsRoute } from '../../lib/admin/program-routes.ts';
import type { ListenAddress } from '../../lib/admin/listen-address.ts';
import { ControllerError } from '../errors.ts';
import type { SourceGate } from '../sources/source.ts';
import type { ControllerMetrics } from '../telemetry/metrics.ts';

export interface HttpOptions {
  /** Where readiness is told, if anywhere. */
  readonly ready: ListenAddress | undefined;
  readonly metricsAt: ListenAddress | undefined;
  readonly gates: () => readonly SourceGate[];
  readonly metrics: ControllerMetrics;
}

/**
 * Serves readiness and metrics over plain HTTP, each where it is asked for. Nothing that they tell is secret.
 *
 * @throws ControllerError LISTEN
 */
export async function serveHttp({
  ready,
  metricsAt,
  gates,
  metrics,
}: HttpOptions): Promise<readonly Server[]> {
  const servers: Server[] = [];
  const serve = async (address: ListenAddress | undefined, routes: Routes): Promise<void> => {
    if (address === undefined) return;
    const at = `${address.host}:${address.port}`;
    const server = await serveRoutes(address, routes).catch((cause: unknown) => {
      throw new ControllerError('LISTEN', `${at} cannot be listened on`, { cause });
    });
    servers.push(server);
  };
  await serve(ready, {
    'GET /healthz/ready': () => {
      const all = gates();
      const blockedBy = all.filter((gate) => !gate.ready).map(({ name }) => name);
      const isReady = blockedBy.length === 0;
      return jsonAnswer({ ready: isReady, blockedBy, gates: all }, isReady ? 200 : 503);
    },
    // Whether the process answers at all, for a liveness probe.
    'GET /healthz/live': () => textAnswer('alive'),
  });
  await serve(metricsAt, {
    'GET /metrics': metricsRoute({ metrics: (accept) => metrics.page(accept) }),
  });
  return servers;
}
