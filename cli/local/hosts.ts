import { familyOf } from '../../lib/ip-families.ts';
import { podKey, selects, type ServiceManifest } from './model.ts';
import type { Labels } from '../../lib/enrolment.ts';

const CLUSTER_DOMAIN = 'cluster.local';

/** A pod as other pods' names need it. */
export interface NamedPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  /** The primary first. */
  readonly ips: readonly string[];
  readonly ready: boolean;
}

/** What a pod's /etc/hosts is made of. */
export interface HostsInput {
  readonly self: NamedPod;
  /**
   * Whether the mesh redirects this pod's connections. The virtual address of a Service is nothing but a name for
   * that redirection, so that a pod outside the mesh is told the pods' own addresses.
   */
  readonly enrolled: boolean;
  readonly services: readonly ServiceManifest[];
  readonly pods: readonly NamedPod[];
  /** Virtual addresses by `namespace/name`. */
  readonly vips: ReadonlyMap<string, readonly string[]>;
}

/**
 * The names that a Service has for a pod, as the cluster's DNS and its search domains would give them:
 * the short name only within its own namespace.
 */
export function serviceNames(service: { namespace: string; name: string }, fromNamespace: string): string[] {
  const { namespace, name } = service;
  const names = [
    `${name}.${namespace}.svc.${CLUSTER_DOMAIN}`,
    `${name}.${namespace}.svc`,
    `${name}.${namespace}`,
  ];
  return fromNamespace === namespace ? [...names, name] : names;
}

/** The text of a pod's /etc/hosts. A Service has addresses of its own families alone, as it would have in DNS. */
export function hostsFile(input: HostsInput): string {
  const { self, services, pods, vips, enrolled } = input;
  const lines = [
    '# Written by Loam; follows the Services while the pod runs.',
    '127.0.0.1 localhost',
    '::1 localhost ip6-localhost ip6-loopback',
    ...self.ips.map((ip) => `${ip} ${self.name}`),
  ];
  for (const service of [...services].sort((a, b) => (podKey(a) < podKey(b) ? -1 : 1))) {
    const names = serviceNames(service, self.namespace).join(' ');
    const vip = service.headless || !enrolled ? undefined : vips.get(podKey(service));
    const found = vip ?? endpoints(service, pods).flatMap((pod) => pod.ips);
    const addresses = found.filter((ip) => service.families.includes(familyOf(ip)));
    for (const address of addresses) lines.push(`${address} ${names}`);
  }
  return `${lines.join('\n')}\n`;
}

function endpoints(service: ServiceManifest, pods: readonly NamedPod[]): NamedPod[] {
  const { selector, namespace } = service;
  if (selector === undefined) return [];
  return pods
    .filter((pod) => pod.ready && pod.namespace === namespace && selects(selector, pod.labels))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
