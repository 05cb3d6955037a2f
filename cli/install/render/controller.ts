import type {
  V1Deployment,
  V1PodDisruptionBudget,
  V1Service,
  V1ServiceAccount,
} from '@kubernetes/client-node';
import { meta, nameOf, podLabels, selectorOf, type Installation, type Manifest } from './manifest.ts';
import {
  ADMIN_PORT,
  confined,
  container,
  flags,
  METRICS_PORT,
  pullSecrets,
  READY_PORT,
  RUN_FOLDER,
  TOKEN_AUDIENCE,
  XDS_PORT,
} from './programs.ts';

const NAME = 'controller';
/** Nobody's: it needs no file of the image but to read it. */
const UID = 65532;

/** `https://…` by which ztunnel and waypoints reach a controller. */
export function controllerAddress(namespace: string): string {
  return `https://${nameOf(NAME)}.${namespace}.svc:${XDS_PORT}`;
}

/** Names in the controller's serving certificate: those by which pods of this cluster may call it. */
function servingNames({ namespace, values }: Installation): string[] {
  const service = `${nameOf(NAME)}.${namespace}`;
  return [`${service}.svc`, `${service}.svc.${values.clusterDomain}`, service];
}

/** The controllers with their account, Service and disruption budget. */
export function controller(installation: Installation): Manifest[] {
  return [account(installation), deployment(installation), service(installation), budget(installation)];
}

function account({ namespace }: Installation): Manifest & V1ServiceAccount {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(NAME, namespace) };
}

function deployment(installation: Installation): Manifest & V1Deployment {
  const { namespace, values } = installation;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: meta(NAME, namespace),
    spec: {
      replicas: values.replicas,
      selector: { matchLabels: selectorOf(NAME) },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: { labels: podLabels(NAME), annotations: scraped() },
        spec: {
          serviceAccountName: nameOf(NAME),
          priorityClassName: 'system-cluster-critical',
          ...pullSecrets(values),
          nodeSelector: { 'kubernetes.io/os': 'linux', ...values.controller.nodeSelector },
          // It is who takes the taint off: it must not wait for that itself.
          tolerations: [
            { key: 'loam.dev/agent-not-ready', operator: 'Exists' },
            ...values.controller.tolerations,
          ],
          affinity: {
            podAntiAffinity: {
              preferredDuringSchedulingIgnoredDuringExecution: [
                {
                  weight: 100,
                  podAffinityTerm: {
                    labelSelector: { matchLabels: selectorOf(NAME) },
                    topologyKey: 'kubernetes.io/hostname',
                  },
                },
              ],
            },
          },
          securityContext: { runAsNonRoot: true, runAsUser: UID, runAsGroup: UID, fsGroup: UID },
          containers: [
            {
              ...container(NAME, values),
              args: flags({
                listen: `0.0.0.0:${XDS_PORT}`,
                namespace,
                'serving-names': servingNames(installation).join(),
                'token-audience': TOKEN_AUDIENCE,
                'ca-secret': values.ca.secret,
                'waypoint-image': values.image,
                'trust-domain': values.trustDomain,
                'cluster-id': values.clusterId,
                'root-namespace': namespace,
                status: `${RUN_FOLDER}/controller.sock`,
                admin: `127.0.0.1:${ADMIN_PORT}`,
                ready: `[::]:${READY_PORT}`,
                metrics: `[::]:${METRICS_PORT}`,
                'log-level': values.logLevel,
              }),
              ports: [
                { name: 'grpc', containerPort: XDS_PORT },
                { name: 'metrics', containerPort: METRICS_PORT },
                { name: 'ready', containerPort: READY_PORT },
              ],
              readinessProbe: {
                httpGet: { path: '/healthz/ready', port: 'ready' },
                periodSeconds: 2,
                timeoutSeconds: 2,
              },
              resources: values.controller.resources,
              securityContext: confined([]),
              volumeMounts: [{ name: 'run', mountPath: RUN_FOLDER }],
            },
          ],
          volumes: [{ name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }],
        },
      },
    },
  };
}

/** By which a Prometheus that looks for it finds the metrics. */
export function scraped(): Record<string, string> {
  return {
    'prometheus.io/scrape': 'true',
    'prometheus.io/port': String(METRICS_PORT),
    'prometheus.io/path': '/metrics',
  };
}

function service({ namespace }: Installation): Manifest & V1Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta(NAME, namespace),
    spec: {
      selector: selectorOf(NAME),
      ipFamilyPolicy: 'PreferDualStack',
      ports: [
        { name: 'grpc-xds', port: XDS_PORT, targetPort: 'grpc', protocol: 'TCP' },
        { name: 'http-metrics', port: METRICS_PORT, targetPort: 'metrics', protocol: 'TCP' },
      ],
    },
  };
}

/** One at a time may be taken away for a node's sake; of a single one, it may: existing pods do without it meanwhile. */
function budget({ namespace }: Installation): Manifest & V1PodDisruptionBudget {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: meta(NAME, namespace),
    spec: { maxUnavailable: 1, selector: { matchLabels: selectorOf(NAME) } },
  };
}
