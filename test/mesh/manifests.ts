import { appFile } from './harness.ts';

/** The namespace of the mesh tests, enrolled. */
export function namespaceManifest(
  mode: 'ambient' | 'none' = 'ambient',
  labels: Readonly<Record<string, string>> = {},
): string {
  return `
apiVersion: v1
kind: Namespace
metadata:
  name: m
  labels:
    loam.dev/dataplane-mode: ${mode}
${Object.entries(labels)
  .map(([key, value]) => `    ${key}: ${value}\n`)
  .join('')}`;
}

/** A waypoint of namespace `m`. */
export function gatewayManifest(name: string, annotations: Readonly<Record<string, string>> = {}): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: ${name}
  namespace: m
  annotations:
    test: mesh
${Object.entries(annotations)
  .map(([key, value]) => `    ${key}: ${JSON.stringify(value)}\n`)
  .join('')}spec:
  gatewayClassName: loam-waypoint
  listeners:
    - name: mesh
      port: 15008
      protocol: HBONE
`;
}

export interface PodOptions {
  readonly node?: string;
  readonly commands?: Readonly<Record<string, string>>;
  readonly ports?: readonly number[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly serviceAccount?: string;
  /** Of the pod, as the annotation says them: `IPv6`; both by default. */
  readonly families?: string;
  /** IPv4 address that it would like to have. */
  readonly address?: string;
}

/** A Pod of namespace `m`, with its ServiceAccount; label `app` is its name. */
export function podManifest(name: string, options: PodOptions = {}): string {
  const {
    node = 'node-a',
    commands = {},
    ports = [],
    labels = {},
    serviceAccount = name,
    families,
    address,
  } = options;
  const lines = [
    ...[
      'apiVersion: v1',
      'kind: ServiceAccount',
      'metadata:',
      `  name: ${serviceAccount}`,
      '  namespace: m',
      '---',
    ],
    ...['apiVersion: v1', 'kind: Pod', 'metadata:', `  name: ${name}`, '  namespace: m', '  labels:'],
    `    app: ${name}`,
    ...Object.entries(labels).map(([key, value]) => `    ${key}: ${value}`),
    '  annotations:',
    '    test: mesh',
    ...(families === undefined ? [] : [`    local.loam.dev/ip-families: ${families}`]),
    ...(address === undefined ? [] : [`    local.loam.dev/address: ${address}`]),
    ...Object.entries(commands).map(
      ([key, value]) => `    local.loam.dev/command.${key}: ${JSON.stringify(value)}`,
    ),
    ...['spec:', `  nodeName: ${node}`, `  serviceAccountName: ${serviceAccount}`, '  containers:'],
    ...(Object.keys(commands).length === 0 ? ['none'] : Object.keys(commands)).flatMap((container, i) => [
      `    - name: ${container}`,
      '      image: test',
      ...(i === 0 && ports.length > 0
        ? ['      ports:', ...ports.map((port) => `        - containerPort: ${port}`)]
        : []),
    ]),
  ];
  return `${lines.join('\n')}\n`;
}

/** A Service `name` for the pods with `app: <app>`. @param ports targetPort by port */
export function serviceManifest(
  name: string,
  app: string,
  ports: Readonly<Record<number, number>>,
  more = '',
): string {
  const list = Object.entries(ports).flatMap(([port, target]) => [
    `    - name: p${port}`,
    `      port: ${port}`,
    `      targetPort: ${target}`,
  ]);
  return `
apiVersion: v1
kind: Service
metadata:
  name: ${name}
  namespace: m
spec:
  ${more}
  selector:
    app: ${app}
  ports:
${list.join('\n')}
`;
}

/** A policy for the pods with `app: <app>`: only these service accounts of namespace `m`. */
export function allowOnly(app: string, ...serviceAccounts: string[]): string {
  return `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: ${app}-policy
  namespace: m
spec:
  selector:
    matchLabels:
      app: ${app}
  action: ALLOW
  rules:
    - from:
        - source:
            principals: [${serviceAccounts.map((name) => `cluster.local/ns/m/sa/${name}`).join(', ')}]
`;
}

export const SERVER_PORTS = [8080, 7000, 7001] as const;

/** The pod that runs app/server.mjs. */
export function serverManifest(
  name: string,
  node: string,
  more: Readonly<Record<string, string>> = {},
  options: PodOptions = {},
): string {
  return podManifest(name, {
    ...options,
    node,
    commands: { server: `node ${appFile('server.mjs')}`, ...more },
    ports: SERVER_PORTS,
  });
}

/** Two nodes: a client and a server on each, and somebody outside the mesh. */
export const BASE: Readonly<Record<string, string>> = {
  'namespace.yaml': namespaceManifest(),
  'client.yaml': podManifest('client'),
  'other.yaml': podManifest('other'),
  'outsider.yaml': podManifest('outsider', { labels: { 'loam.dev/dataplane-mode': 'none' } }),
  'server.yaml': serverManifest('server', 'node-b'),
  'near.yaml': serverManifest('near', 'node-a'),
  'services.yaml': [
    serviceManifest('server', 'server', { 80: 8080, 7000: 7000, 7001: 7001 }),
    serviceManifest('near', 'near', { 80: 8080, 7000: 7000, 7001: 7001 }),
  ].join('---\n'),
};
