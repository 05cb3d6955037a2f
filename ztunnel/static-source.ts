/** State and certificates from files, for harnesses without a control plane (--static-state, --static-certs). */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { spiffeUri, type Identity } from '../lib/spiffe.ts';
import { MeshError } from '../lib/mesh/errors.ts';
import type { CertificateBundle } from '../lib/mesh/identity/certificate-bundle.ts';
import type { CertificateStatus } from '../lib/mesh/identity/certificate-manager.ts';
import { canonicalIp } from '../lib/mesh/state/ip.ts';
import type {
  Match,
  Membership,
  Policy,
  Service,
  ServicePort,
  TextMatch,
  Workload,
  WorkloadKind,
} from '../lib/mesh/state/model.ts';

export interface StaticState {
  readonly addresses: readonly (Workload | Service)[];
  readonly policies: readonly Policy[];
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads a file of the shape of the Rust ztunnel's local configuration: `workloads`, `services`, `policies`, in YAML or
 * JSON. Policies' matches may use principals, namespaces and destination ports.
 *
 * @throws MeshError RESOURCE_INVALID, FILE_UNREADABLE
 */
export function readStaticState(file: string): StaticState {
  const root = fields(parse(readText(file)) as unknown, file);
  return {
    addresses: [
      ...list(root['services'], 'services').map((value) => service(fields(value, 'service'))),
      ...list(root['workloads'], 'workloads').map((value) => workload(fields(value, 'workload'))),
    ],
    policies: list(root['policies'], 'policies').map((value) => policy(fields(value, 'policy'))),
  };
}

function workload(from: Fields): Workload {
  const name = text(from, 'name');
  const namespace = text(from, 'namespace', 'default');
  return {
    kind: 'workload',
    uid: text(from, 'uid', `Kubernetes//Pod/${namespace}/${name}`),
    name,
    namespace,
    identity: {
      trustDomain: text(from, 'trustDomain', 'cluster.local'),
      namespace,
      serviceAccount: text(from, 'serviceAccount', 'default'),
    },
    addresses: list(from['workloadIps'], 'workloadIps').map((ip) => address(ip)),
    network: text(from, 'network', ''),
    hostname: text(from, 'hostname', ''),
    tunnelProtocol: text(from, 'protocol', 'TCP') === 'HBONE' ? 'hbone' : 'none',
    node: text(from, 'node', ''),
    canonicalName: text(from, 'canonicalName', name),
    canonicalRevision: text(from, 'canonicalRevision', 'latest'),
    workloadType: text(from, 'workloadType', 'pod') as WorkloadKind,
    workloadName: text(from, 'workloadName', name),
    nativeTunnel: false,
    services: Object.entries(fields(from['services'] ?? {}, 'services')).map(([key, ports]): Membership => ({
      service: key,
      ports: portMap(ports),
    })),
    authorizationPolicies: list(from['authorizationPolicies'], 'authorizationPolicies').map(String),
    healthy: text(from, 'status', 'Healthy').toLowerCase() === 'healthy',
    clusterId: text(from, 'clusterId', 'Kubernetes'),
    locality: { region: '', zone: '', subzone: '' },
    hostNetwork: false,
    capacity: 1,
  };
}

function service(from: Fields): Service {
  const name = text(from, 'name');
  const namespace = text(from, 'namespace', 'default');
  const hostname = text(from, 'hostname', `${name}.${namespace}.svc.cluster.local`);
  return {
    kind: 'service',
    key: `${namespace}/${hostname}`,
    name,
    namespace,
    hostname,
    addresses: list(from['vips'], 'vips').map((vip) => {
      const [network = '', ip] = String(vip).split('/', 2);
      return { network, ip: address(ip) };
    }),
    ports: portMap(from['ports'] ?? {}),
    subjectAltNames: list(from['subjectAltNames'], 'subjectAltNames').map(String),
    ipFamilies: 'automatic',
    weightedWaypoints: [],
    loadBalancing: { routingPreference: [], mode: 'unspecified', allowUnhealthy: false },
    canonical: true,
    visibility: 'public',
  };
}

function policy(from: Fields): Policy {
  const namespace = text(from, 'namespace', '');
  const scope = text(from, 'scope', 'Namespace').toLowerCase();
  return {
    key: `${namespace}/${text(from, 'name')}`,
    namespace,
    scope: scope === 'global' || scope === 'namespace' ? scope : 'workload',
    action: text(from, 'action').toLowerCase() === 'deny' ? 'deny' : 'allow',
    dryRun: false,
    // Rules are lists of clauses, and those lists of matches.
    rules: list(from['rules'], 'rules').map((rule) => ({
      clauses: list(rule, 'rule').map((clause) => ({
        matches: list(clause, 'clause').map((value) => match(fields(value, 'match'))),
      })),
    })),
  };
}

function match(from: Fields): Match {
  const texts = (field: string): TextMatch[] => list(from[field], field).map(textMatch);
  const ports = (field: string): number[] => list(from[field], field).map(Number);
  const known = [
    ...['namespaces', 'notNamespaces', 'principals', 'notPrincipals'],
    ...['destinationPorts', 'notDestinationPorts'],
  ];
  const unknown = Object.keys(from).filter((field) => !known.includes(field));
  return {
    namespaces: texts('namespaces'),
    notNamespaces: texts('notNamespaces'),
    principals: texts('principals'),
    notPrincipals: texts('notPrincipals'),
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: ports('destinationPorts'),
    notDestinationPorts: ports('notDestinationPorts'),
    serviceAccounts: [],
    notServiceAccounts: [],
    ...(unknown.length > 0 && { unsupported: `field ${unknown.join(', ')}` }),
  };
}

function textMatch(value: unknown): TextMatch {
  if (value === 'Presence') return { how: 'presence' };
  const [entry] = Object.entries(fields(value, 'string match'));
  const how = entry?.[0].toLowerCase();
  if (how === 'presence') return { how };
  if (entry !== undefined && (how === 'exact' || how === 'prefix' || how === 'suffix')) {
    return { how, text: String(entry[1]) };
  }
  throw new MeshError('RESOURCE_INVALID', 'a string match is Exact, Prefix, Suffix or Presence');
}

function portMap(value: unknown): ServicePort[] {
  return Object.entries(fields(value, 'ports')).map(([port, target]) => ({
    servicePort: Number(port),
    targetPort: Number(target),
    appProtocol: 'unknown',
  }));
}

function address(value: unknown): string {
  const ip = canonicalIp(String(value));
  if (ip !== undefined) return ip;
  throw new MeshError('RESOURCE_INVALID', `${String(value)} is no address`);
}

function fields(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new MeshError('RESOURCE_INVALID', `${what} is not an object`);
}

function list(value: unknown, what: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value as unknown[];
  throw new MeshError('RESOURCE_INVALID', `${what} is not a list`);
}

function text(from: Fields, field: string, otherwise?: string): string {
  const value = from[field] ?? otherwise;
  if (typeof value === 'string') return value;
  throw new MeshError('RESOURCE_INVALID', `${field} is not a text`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new MeshError('FILE_UNREADABLE', `cannot read ${file}`, { cause });
  }
}

/** Certificates of a folder: `<service account>.crt`, `<service account>.key` and `root.pem`; read once an identity. */
export class StaticCertificates {
  readonly #folder: string;
  readonly #deliver: (bundle: CertificateBundle) => void;
  readonly #bundles = new Map<string, CertificateBundle>();

  constructor(folder: string, deliver: (bundle: CertificateBundle) => void) {
    this.#folder = folder;
    this.#deliver = deliver;
  }

  /** @throws MeshError FILE_UNREADABLE */
  acquire(identity: Identity): void {
    const file = (name: string): string => readText(join(this.#folder, name));
    const certChainPem = file(`${identity.serviceAccount}.crt`);
    const certificate = new X509Certificate(certChainPem);
    const bundle: CertificateBundle = {
      identity,
      certChainPem,
      keyPem: file(`${identity.serviceAccount}.key`),
      rootsPem: file('root.pem'),
      notBefore: certificate.validFromDate.getTime(),
      notAfter: certificate.validToDate.getTime(),
      serialNumber: certificate.serialNumber,
    };
    this.#bundles.set(spiffeUri(identity), bundle);
    this.#deliver(bundle);
  }

  release(_identity: Identity): void {
    // Files stay where they are.
  }

  prioritize(_identity: Identity): void {
    // There is nothing to wait for.
  }

  snapshot(): CertificateStatus[] {
    return [...this.#bundles].map(([identity, bundle]) => ({
      identity,
      state: 'valid',
      users: 1,
      serialNumber: bundle.serialNumber,
      notBefore: new Date(bundle.notBefore).toISOString(),
      notAfter: new Date(bundle.notAfter).toISOString(),
      certChainPem: bundle.certChainPem,
    }));
  }

  restore(): void {
    // The folder has all.
  }

  forgetRestored(): void {
    // Nothing was restored.
  }

  stop(): void {
    this.#bundles.clear();
  }
}
