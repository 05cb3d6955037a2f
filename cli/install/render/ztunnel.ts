import type { V1DaemonSet, V1ServiceAccount } from '@kubernetes/client-node';
import { AGENT_STATUS, ZDS_SOCKET } from './agent.ts';
import { controllerAddress, scraped } from './controller.ts';
import { meta, nameOf, podLabels, selectorOf, type Installation, type Manifest } from './manifest.ts';
import {
  container,
  flags,
  METRICS_PORT,
  onNode,
  pullSecrets,
  READY_PORT,
  ROOT_CONFIG_MAP,
  ROOT_FILE,
  RUN_FOLDER,
  TOKEN_AUDIENCE,
  TOKEN_FILE,
} from './programs.ts';

const NAME = 'ztunnel';
const TOKEN_SECONDS = 43_200;

/** To enter a pod's network namespace (setns) for the sockets that it makes there (docs/capabilities.md). */
const CAPABILITIES = ['SYS_ADMIN'];

/** The ztunnels with their account, which may do nothing at the API server: its token only tells the controller who calls. */
export function ztunnel(installation: Installation): Manifest[] {
  return [account(installation), daemonSet(installation)];
}

function account({ namespace }: Installation): Manifest & V1ServiceAccount {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: meta(NAME, namespace),
    automountServiceAccountToken: false,
  };
}

function daemonSet({ namespace, values }: Installation): Manifest & V1DaemonSet {
  const controller = controllerAddress(namespace);
  const grace = values.ztunnel.terminationGracePeriodSeconds;
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: meta(NAME, namespace),
    spec: {
      selector: { matchLabels: selectorOf(NAME) },
      // The new one takes over before the former is told to end (docs/decisions/0097).
      updateStrategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: values.ztunnel.maxSurge, maxUnavailable: 0 },
      },
      template: {
        metadata: { labels: podLabels(NAME), annotations: scraped() },
        spec: {
          serviceAccountName: nameOf(NAME),
          automountServiceAccountToken: false,
          priorityClassName: 'system-node-critical',
          ...pullSecrets(values),
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          tolerations: [{ operator: 'Exists' }],
          terminationGracePeriodSeconds: grace,
          containers: [
            {
              ...container(NAME, values),
              args: flags({
                node: '$(NODE_NAME)',
                'cluster-id': values.clusterId,
                'trust-domain': values.trustDomain,
                'root-namespace': namespace,
                zds: ZDS_SOCKET,
                'agent-status': AGENT_STATUS,
                'xds-address': controller,
                'ca-address': controller,
                'xds-root': ROOT_FILE,
                'ca-root': ROOT_FILE,
                token: TOKEN_FILE,
                ready: `[::]:${READY_PORT}`,
                metrics: `[::]:${METRICS_PORT}`,
                'termination-grace-s': String(grace),
                'log-level': values.logLevel,
                'xds-on-demand': values.ztunnel.onDemand ? 'on' : 'off',
              }),
              env: [
                {
                  name: 'NODE_NAME',
                  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'spec.nodeName' } },
                },
              ],
              ports: [
                { name: 'metrics', containerPort: METRICS_PORT },
                { name: 'ready', containerPort: READY_PORT },
              ],
              readinessProbe: {
                httpGet: { path: '/healthz/ready', port: 'ready' },
                periodSeconds: 2,
                timeoutSeconds: 2,
              },
              resources: values.ztunnel.resources,
              securityContext: onNode(CAPABILITIES),
              volumeMounts: [
                { name: 'run', mountPath: RUN_FOLDER, mountPropagation: 'HostToContainer' },
                { name: 'token', mountPath: '/var/run/secrets/loam', readOnly: true },
                { name: 'root', mountPath: '/var/run/secrets/loam-root', readOnly: true },
              ],
            },
          ],
          volumes: [
            { name: 'run', hostPath: { path: RUN_FOLDER, type: 'DirectoryOrCreate' } },
            {
              name: 'token',
              projected: {
                defaultMode: 0o400,
                sources: [
                  {
                    serviceAccountToken: {
                      audience: TOKEN_AUDIENCE,
                      expirationSeconds: TOKEN_SECONDS,
                      path: 'token',
                    },
                  },
                ],
              },
            },
            { name: 'root', configMap: { name: ROOT_CONFIG_MAP } },
          ],
        },
      },
    },
  };
}
