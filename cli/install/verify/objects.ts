/** What a verification makes in a cluster; all of it is in one namespace, and goes with it. */
import { confined } from '../render/programs.ts';
import type { Manifest } from '../render/manifest.ts';
import { WAYPOINT_CLASS } from '../render/manifest.ts';
import { idleCommand, ROUTE_HEADER, serveCommand } from './pod-scripts.ts';

/** On the namespace of each run, by which what a killed run left is found. */
export const VERIFY_LABEL = 'loam.dev/verify';
/** After this a run is over, whatever became of it (RFC 3339). */
export const UNTIL_ANNOTATION = 'loam.dev/verify-until';
export const SERVER_PORT = 8080;
export const SERVICE_PORT = 80;
export const WAYPOINT = 'waypoint';
export const DENY = 'deny-client';
export const EGRESS = 'client-calls-server';
const UID = 65532;

type Object_ = Manifest & Readonly<Record<string, unknown>>;

export type Role = 'client' | 'server' | 'outsider';

export function namespace(name: string, until: Date): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name,
      labels: {
        [VERIFY_LABEL]: 'true',
        'loam.dev/dataplane-mode': 'ambient',
        'pod-security.kubernetes.io/enforce': 'restricted',
      },
      annotations: { [UNTIL_ANNOTATION]: until.toISOString() },
    },
  };
}

export function account(ns: string, name: Role): Object_ {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace: ns },
    automountServiceAccountToken: false,
  };
}

/** A pod on a node. The outsider stays out of the mesh. */
export function pod(ns: string, role: Role, node: string, image: string): Object_ {
  const isServer = role === 'server';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: role,
      namespace: ns,
      labels: { app: role, ...(role === 'outsider' ? { 'loam.dev/dataplane-mode': 'none' } : {}) },
    },
    spec: {
      serviceAccountName: role,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 1,
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }],
          },
        },
      },
      containers: [
        {
          name: 'app',
          image,
          // It is on every node already, as the agent's.
          imagePullPolicy: 'IfNotPresent',
          command: isServer ? serveCommand(SERVER_PORT) : idleCommand(),
          securityContext: { ...confined([]), runAsNonRoot: true, runAsUser: UID, runAsGroup: UID },
          resources: { requests: { cpu: '10m', memory: '48Mi' } },
          ...(isServer
            ? {
                readinessProbe: {
                  httpGet: { path: '/probe', port: SERVER_PORT },
                  periodSeconds: 1,
                  timeoutSeconds: 5,
                },
              }
            : {}),
        },
      ],
    },
  };
}

export function service(ns: string, more: Readonly<Record<string, string>> = {}): Object_ {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'server', namespace: ns, labels: more },
    spec: {
      selector: { app: 'server' },
      ports: [{ name: 'http', port: SERVICE_PORT, targetPort: SERVER_PORT }],
    },
  };
}

export function peerAuthentication(ns: string, mode: 'PERMISSIVE' | 'STRICT'): Object_ {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'mode', namespace: ns },
    spec: { mtls: { mode } },
  };
}

/** Beside a policy of the whole mesh that allows nothing by default, these pods may speak. */
export function allowAll(ns: string): Object_ {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'allow-all', namespace: ns },
    spec: { action: 'ALLOW', rules: [{}] },
  };
}

export function denyClient(ns: string): Object_ {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: DENY, namespace: ns },
    spec: {
      selector: { matchLabels: { app: 'server' } },
      action: 'DENY',
      rules: [
        { from: [{ source: { namespaces: [ns] } }], to: [{ operation: { ports: [String(SERVER_PORT)] } }] },
      ],
    },
  };
}

export function egressPolicy(ns: string): Object_ {
  return {
    apiVersion: 'loam.dev/v1',
    kind: 'EgressPolicy',
    metadata: { name: EGRESS, namespace: ns },
    spec: { selector: { matchLabels: { app: 'client' } }, allow: [{ services: [{ name: 'server' }] }] },
  };
}

export function waypoint(ns: string): Object_ {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: WAYPOINT, namespace: ns },
    spec: {
      gatewayClassName: WAYPOINT_CLASS,
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  };
}

/** A route whose requests are told by a header. */
export function route(ns: string): Object_ {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'server', namespace: ns },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'server', port: SERVICE_PORT }],
      rules: [
        {
          filters: [
            {
              type: 'RequestHeaderModifier',
              requestHeaderModifier: { set: [{ name: ROUTE_HEADER, value: ns }] },
            },
          ],
          backendRefs: [{ name: 'server', port: SERVICE_PORT }],
        },
      ],
    },
  };
}
