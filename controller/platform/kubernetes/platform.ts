import type { Logger } from 'pino';
import { Backoff } from '../../../lib/backoff.ts';
import { KubeClient } from '../../../lib/kubernetes/client.ts';
import { errorText } from '../../../lib/loam-error.ts';
import type { Config, KubernetesConfig } from '../../config.ts';
import { WAYPOINT_CLASS } from '../../model/gateway-api.ts';
import { objectKey } from '../../model/objects.ts';
import { KubernetesSource } from '../../sources/kubernetes/source.ts';
import type { ControllerMetrics } from '../../telemetry/metrics.ts';
import type { Platform } from '../platform.ts';
import { Leader } from './leader.ts';
import { RootConfigMap } from './root-config-map.ts';
import { loadSessionSecret } from './session-secret.ts';
import { TokenAuthenticator } from './token-authenticator.ts';
import { WatchedAuthority } from './watched-authority.ts';

const RETRY = { initialMs: 500, maxMs: 15_000 };

/** Objects, tokens and keys by the API server of a cluster. */
export function kubernetesPlatform(
  config: KubernetesConfig,
  mesh: Config,
  metrics: ControllerMetrics,
  log: Logger,
): Platform {
  const { rootNamespace, trustDomain } = mesh;
  const { access, namespace, tokenAudience: audience, ztunnelAccount, caSecret } = config;
  const client = new KubeClient(access, { userAgent: 'loam-controller' });
  const source = new KubernetesSource({ client, rootNamespace, trustDomain, log });
  const authority = new WatchedAuthority({ client, namespace, name: caSecret, trustDomain, log });
  const roots = new RootConfigMap({ client, namespace, log });
  const stop = new AbortController();
  authority.onChange((changed) => roots.publish(changed), stop.signal);
  const isWaypoint = (gateway: string): boolean | undefined => {
    if (!source.gate().ready) return undefined;
    const [of = '', name = ''] = gateway.split('/');
    const found = source.current.objects.get(objectKey({ kind: 'Gateway', namespace: of, name }))?.object;
    return found?.kind === 'Gateway' && found.spec.gatewayClassName === WAYPOINT_CLASS;
  };
  const authenticator = new TokenAuthenticator({
    ...{ client, namespace, ztunnelAccount, audience, isWaypoint, metrics, log },
  });
  const leader = new Leader({ config, mesh, client, source, authority, metrics, log });
  let closed = false;
  return {
    source,
    assignments: source.assignments,
    authenticator,
    gates: () => [authority.gate()],
    authority: async () => {
      const loaded = await authority.load();
      roots.publish(loaded);
      return loaded;
    },
    onAuthority: (listener, signal) => authority.onChange(listener, signal),
    sessionSecret: async () => {
      const backoff = new Backoff(RETRY);
      for (let said = ''; ;) {
        try {
          return await loadSessionSecret(client, namespace);
        } catch (error) {
          const reason = errorText(error);
          if (closed) throw error;
          if (reason !== said) log.error({ reason }, 'the session secret cannot be used');
          said = reason;
          await new Promise((resolve) => setTimeout(resolve, backoff.next()));
        }
      }
    },
    begin: (report) => leader.start(report),
    end: () => leader.close(),
    close: async () => {
      closed = true;
      stop.abort();
      await authority.close();
      const ended = roots.close();
      // What is still being written is given up.
      client.close();
      await ended;
    },
  };
}
