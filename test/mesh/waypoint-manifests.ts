import { readFileSync } from 'node:fs';
import { appFile, eventually, type Mesh } from './harness.ts';
import { gatewayManifest, namespaceManifest, podManifest } from './manifests.ts';

export const WAY_PORTS = [8080, 8081, 9090, 7000, 7001, 8443] as const;

/** A pod that runs app/way-server.mjs and answers with its name in `x-pod`. */
export function wayServer(
  name: string,
  labels: Readonly<Record<string, string>> = {},
  node = 'node-b',
  families?: string,
): string {
  return podManifest(name, {
    ...(families !== undefined && { families }),
    node,
    commands: { server: `node ${appFile('way-server.mjs')} ${name}` },
    ports: WAY_PORTS,
    labels,
    serviceAccount: 'server',
  });
}

export interface ServiceOptions {
  readonly namespace?: string;
  /** Name of the waypoint; none: the Service has none. */
  readonly waypoint?: string;
  readonly selector: Readonly<Record<string, string>>;
  /** `port: targetPort` or `port: [targetPort, appProtocol]`. */
  readonly ports: Readonly<Record<number, number | readonly [number, string]>>;
  /** More of its spec. */
  readonly spec?: Readonly<Record<string, string>>;
}

export function wayService(name: string, options: ServiceOptions): string {
  const { namespace = 'm', waypoint, selector, ports, spec = {} } = options;
  return `
apiVersion: v1
kind: Service
metadata:
  name: ${name}
  namespace: ${namespace}
  labels: ${JSON.stringify(waypoint === undefined ? {} : { 'loam.dev/use-waypoint': waypoint })}
spec:
${Object.entries(spec)
  .map(([key, value]) => `  ${key}: ${value}\n`)
  .join('')}  selector: ${JSON.stringify(selector)}
  ports: ${JSON.stringify(
    Object.entries(ports).map(([port, target]) => ({
      name: `p${port}`,
      port: Number(port),
      targetPort: typeof target === 'number' ? target : target[0],
      ...(typeof target !== 'number' && { appProtocol: target[1] }),
    })),
  )}
`;
}

/** Any object of namespace `m` (or another), with the spec as a value. */
export function object(
  kind: string,
  name: string,
  spec: object,
  more: { readonly namespace?: string; readonly annotations?: Readonly<Record<string, string>> } = {},
): string {
  const apiVersion =
    kind === 'TrafficPolicy'
      ? 'loam.dev/v1'
      : kind === 'AuthorizationPolicy' || kind === 'RequestAuthentication'
        ? 'security.istio.io/v1'
        : kind === 'Telemetry'
          ? 'telemetry.istio.io/v1'
          : kind === 'ReferenceGrant'
            ? 'gateway.networking.k8s.io/v1beta1'
            : 'gateway.networking.k8s.io/v1';
  const { namespace = 'm', annotations = {} } = more;
  return `${JSON.stringify({ apiVersion, kind, metadata: { name, namespace, annotations }, spec }, undefined, 2)}\n`;
}

/** A route of namespace `m` for a Service. */
export function httpRoute(
  name: string,
  service: string,
  rules: readonly object[],
  more: object = {},
): string {
  return object('HTTPRoute', name, {
    parentRefs: [{ group: '', kind: 'Service', name: service, ...more }],
    rules,
  });
}

export const backend = (name: string, weight = 1, more: object = {}): object => ({
  name,
  port: 80,
  weight,
  ...more,
});

/** A namespace with a waypoint `way` on the first node, and a client there. */
export const WAY_BASE: Readonly<Record<string, string>> = {
  'namespace.yaml': namespaceManifest(),
  'gateway.yaml': gatewayManifest('way'),
  'client.yaml': podManifest('client'),
};

/** Requests for a Service as one line each of the waypoint's log has them: flags by path. */
export interface WayLine {
  readonly path?: string;
  readonly response_flags?: string;
  readonly response_code?: number;
  readonly route?: string;
  readonly policy?: string;
  readonly error?: string;
  readonly 'src.addr'?: string;
  readonly 'dst.addr'?: string;
  readonly 'dst.identity'?: string;
  readonly 'dst.service'?: string;
  readonly 'dst.backend'?: string;
}

/** The access log of the waypoint's first instance. */
export function wayLog(mesh: Mesh): WayLine[] {
  return readFileSync(mesh.paths.waypointLog('m', 'way', 0), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"scope":"access"'))
    .map((line) => JSON.parse(line) as WayLine);
}

/** Waits until a request with this path is in the log, the last of them. */
export function wayLine(mesh: Mesh, path: string): Promise<WayLine> {
  return eventually(`${path} in the waypoint's log`, () =>
    wayLog(mesh).findLast((line) => line.path === path),
  );
}
