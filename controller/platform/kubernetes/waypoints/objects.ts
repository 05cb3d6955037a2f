import { replicasOf } from '../../../compile/waypoints/settings.ts';
import { GATEWAY_NAME_LABEL } from '../../../model/gateway-api.ts';
import { ROOT_CONFIG_MAP, ROOT_KEY } from '../root-config-map.ts';

/** What is the same for the waypoints of all Gateways. */
export interface WaypointSettings {
  readonly image: string;
  /** `https://host:port` of xDS and certificates. */
  readonly controller: string;
  readonly tokenAudience: string;
  readonly trustDomain: string;
  readonly clusterId: string;
}

export interface WaypointGateway {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** An object to be applied; `path` is its own. */
export interface WaypointObject {
  readonly path: string;
  readonly object: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly metadata: object;
    readonly [field: string]: unknown;
  };
}

export const MANAGED_BY = { 'app.kubernetes.io/managed-by': 'loam-controller' } as const;

/** Of a label's value, and of a Service's name. */
const MAX_NAME = 63;
const HBONE_PORT = 15008;
const METRICS_PORT = 15020;
const READY_PORT = 15021;
/** Until no ztunnel sends new requests to a pod that is to end. */
const LEAVE_S = 5;
const DRAIN_S = 30;
const MARGIN_S = 10;
const MS_PER_S = 1000;
/** Of no user of the image; nothing in it need be written. */
const USER = 65_532;
const TOKEN_DIR = '/var/run/secrets/loam';
const ROOT_DIR = '/var/run/secrets/loam-root';

/** Why no waypoint can be made for a Gateway of this name, if none can. */
export function nameProblem({ name }: WaypointGateway): string | undefined {
  if (name.length <= MAX_NAME && /^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name)) return undefined;
  return `metadata.name is ${JSON.stringify(name)}; allowed for a waypoint, whose Service has this name: a DNS label of at most ${MAX_NAME} characters`;
}

/** ServiceAccount, Service, PodDisruptionBudget and Deployment of a Gateway's waypoint; all are the Gateway's own, and go with it. */
export function waypointObjects(gateway: WaypointGateway, settings: WaypointSettings): WaypointObject[] {
  const { namespace, name, uid } = gateway;
  const selector = { [GATEWAY_NAME_LABEL]: name };
  const metadata = {
    ...{ name, namespace, labels: { ...MANAGED_BY, ...selector } },
    ownerReferences: [
      { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', name, uid, controller: true },
    ],
  };
  const object = (apiVersion: string, kind: string, plural: string, rest: object): WaypointObject => ({
    path: `/${apiVersion === 'v1' ? 'api' : 'apis'}/${apiVersion}/namespaces/${namespace}/${plural}/${name}`,
    object: { apiVersion, kind, metadata, ...rest },
  });
  const replicas = replicasOf(gateway.annotations);
  return [
    object('v1', 'ServiceAccount', 'serviceaccounts', { automountServiceAccountToken: false }),
    object('v1', 'Service', 'services', {
      spec: {
        ...{ type: 'ClusterIP', selector, ipFamilyPolicy: 'PreferDualStack' },
        ports: [
          { name: 'hbone', port: HBONE_PORT, targetPort: HBONE_PORT, protocol: 'TCP', appProtocol: 'hbone' },
        ],
      },
    }),
    object('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets', {
      spec: { maxUnavailable: 1, selector: { matchLabels: selector } },
    }),
    object('apps/v1', 'Deployment', 'deployments', {
      spec: {
        ...(replicas !== undefined && { replicas }),
        selector: { matchLabels: selector },
        // A new one serves before a former one leaves.
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        template: podTemplate(gateway, selector, settings),
      },
    }),
  ];
}

function podTemplate(
  { namespace, name }: WaypointGateway,
  selector: Readonly<Record<string, string>>,
  { image, controller, tokenAudience, trustDomain, clusterId }: WaypointSettings,
): object {
  const root = `${ROOT_DIR}/${ROOT_KEY}`;
  return {
    metadata: {
      // It speaks HBONE itself.
      labels: { ...MANAGED_BY, ...selector, 'loam.dev/dataplane-mode': 'none' },
      annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': String(METRICS_PORT) },
    },
    spec: {
      serviceAccountName: name,
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: LEAVE_S + DRAIN_S + MARGIN_S,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: USER,
        runAsGroup: USER,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      topologySpreadConstraints: [
        {
          ...{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
          labelSelector: { matchLabels: selector },
        },
      ],
      containers: [
        {
          ...{ name: 'waypoint', image, imagePullPolicy: 'IfNotPresent' },
          command: [
            ...['/usr/local/bin/node', '--disable-sigusr1', '--enable-source-maps'],
            '/app/dist/waypoint/main.js',
          ],
          args: [
            ...['--gateway', `${namespace}/${name}`],
            ...['--node', '$(NODE_NAME)'],
            ...['--cluster-id', clusterId],
            ...['--xds-address', controller],
            ...['--ca-address', controller],
            ...['--xds-root', root],
            ...['--ca-root', root],
            ...['--token', `${TOKEN_DIR}/token`],
            ...['--trust-domain', trustDomain],
            ...['--listen', `[::]:${HBONE_PORT}`],
            ...['--metrics', `[::]:${METRICS_PORT}`],
            ...['--ready', `[::]:${READY_PORT}`],
            ...['--drain-deadline-ms', String(DRAIN_S * MS_PER_S)],
          ],
          env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
          ports: [
            { name: 'hbone', containerPort: HBONE_PORT, protocol: 'TCP' },
            { name: 'metrics', containerPort: METRICS_PORT, protocol: 'TCP' },
            { name: 'ready', containerPort: READY_PORT, protocol: 'TCP' },
          ],
          readinessProbe: {
            httpGet: { path: '/healthz/ready', port: READY_PORT },
            ...{ periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3 },
          },
          lifecycle: { preStop: { sleep: { seconds: LEAVE_S } } },
          resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '1Gi' } },
          securityContext: {
            ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [
            { name: 'token', mountPath: TOKEN_DIR, readOnly: true },
            { name: 'root', mountPath: ROOT_DIR, readOnly: true },
          ],
        },
      ],
      volumes: [
        {
          name: 'token',
          projected: {
            sources: [
              { serviceAccountToken: { audience: tokenAudience, expirationSeconds: 3600, path: 'token' } },
            ],
          },
        },
        { name: 'root', configMap: { name: ROOT_CONFIG_MAP } },
      ],
    },
  };
}
