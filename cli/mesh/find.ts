/** What a person means by a word: a pod, a Service, an address. */
import { canonicalIp } from '../../lib/mesh/state/ip.ts';
import { MeshError } from './errors.ts';
import type { MeshInventory, MeshPod, MeshService } from './reader.ts';

/** What can be dialled. */
export type Target =
  | { readonly kind: 'pod'; readonly pod: MeshPod }
  | { readonly kind: 'service'; readonly service: MeshService }
  | { readonly kind: 'address'; readonly ip: string };

const FORMS =
  'NAMESPACE/NAME of a pod or Service, or of the Deployment or the like that made a pod, pod/NS/NAME, service/NS/NAME, NAME.NS, an address';
/** How many names an error lists. */
const MAX_NAMES = 12;

/**
 * A pod by its name, or by that of what made it: of its pods, which are alike, a ready one.
 *
 * @throws MeshError MESH_INPUT when there is none, or several
 */
export function findPod({ pods }: Pick<MeshInventory, 'pods'>, word: string): MeshPod {
  const name = word.replace(/^pods?\//, '');
  const found = podsMeant(pods, name);
  const [pod] = found;
  if (pod !== undefined && found.length === 1) return pod;
  throw none('pod', name, pods, found);
}

/** @throws MeshError MESH_INPUT when there is none, or several */
export function findService({ services }: Pick<MeshInventory, 'services'>, word: string): MeshService {
  const name = word.replace(/^(services?|svc)\//, '');
  const found = matching(services, name);
  const [service] = found;
  if (service !== undefined && found.length === 1) return service;
  throw none('Service', name, services, found);
}

/**
 * Reads what is dialled: `[kind/]namespace/name`, `name.namespace[.svc…]`, or an address; with `:port` or without. Where a pod and a
 * Service have the same name, the Service is meant.
 *
 * @throws MeshError MESH_INPUT
 */
export function findTarget(inventory: MeshInventory, word: string): { target: Target; port?: number } {
  const { host, port } = splitPort(word);
  const found = { target: targetOf(inventory, host) };
  return port === undefined ? found : { ...found, port };
}

function targetOf(inventory: MeshInventory, host: string): Target {
  const ip = canonicalIp(host);
  if (ip !== undefined) return { kind: 'address', ip };
  if (/^pods?\//.test(host)) return { kind: 'pod', pod: findPod(inventory, host) };
  if (/^(services?|svc)\//.test(host)) return { kind: 'service', service: findService(inventory, host) };
  const services = matching(inventory.services, host);
  const [service] = services;
  if (service !== undefined && services.length === 1) return { kind: 'service', service };
  const pods = podsMeant(inventory.pods, host);
  const [pod] = pods;
  if (services.length === 0 && pod !== undefined && pods.length === 1) return { kind: 'pod', pod };
  throw none('pod or Service', host, [...inventory.services, ...inventory.pods], [...services, ...pods]);
}

function podsMeant(pods: readonly MeshPod[], word: string): readonly MeshPod[] {
  const named = matching(pods, word);
  if (named.length > 0) return named;
  const made = pods.flatMap((pod) => {
    const name = makerOf(pod);
    return name === undefined ? [] : [{ namespace: pod.namespace, name, pod }];
  });
  const found = matching(made, word);
  const [first] = found;
  if (first === undefined || found.some(({ namespace }) => namespace !== first.namespace))
    return found.map(({ pod }) => pod);
  const all = found.map(({ pod }) => pod).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return [all.find(({ ready }) => ready) ?? (all[0] as MeshPod)];
}

/** What made a pod, by the labels that Kubernetes gives the pods of Deployments, StatefulSets, DaemonSets and Jobs. */
function makerOf({ name, labels }: MeshPod): string | undefined {
  const hash = labels['pod-template-hash'];
  const job = labels['batch.kubernetes.io/job-name'];
  const end =
    hash !== undefined
      ? name.lastIndexOf(`-${hash}-`)
      : labels['controller-revision-hash'] !== undefined
        ? name.lastIndexOf('-')
        : -1;
  return job ?? (end > 0 ? name.slice(0, end) : undefined);
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

function matching<T extends Named>(all: readonly T[], word: string): T[] {
  if (word.includes('/')) return all.filter(({ namespace, name }) => `${namespace}/${name}` === word);
  const exact = all.filter(({ name }) => name === word);
  if (exact.length > 0) return exact;
  const [name, namespace, svc] = word.split('.');
  if (namespace === undefined || (svc !== undefined && svc !== 'svc')) return [];
  return all.filter((each) => each.name === name && each.namespace === namespace);
}

function none(what: string, word: string, all: readonly Named[], found: readonly Named[]): MeshError {
  const list = (some: readonly Named[]): string => {
    const names = [...new Set(some.map(({ namespace, name }) => `${namespace}/${name}`))].sort();
    const shown = names.slice(0, MAX_NAMES).join(', ');
    return names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown || 'none';
  };
  return new MeshError(
    'MESH_INPUT',
    found.length > 1
      ? `several are named ${word}; say which: ${list(found)}`
      : `there is no ${what} ${JSON.stringify(word)}; there are: ${list(all)}; allowed: ${FORMS}`,
  );
}

function splitPort(word: string): { host: string; port?: number } {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(word);
  const [, host, digits] = bracketed ?? /^([^:]+)(?::(\d+))?$/.exec(word) ?? [];
  // A bare IPv6 address.
  if (host === undefined) return { host: word };
  if (digits === undefined) return { host };
  const port = Number(digits);
  if (port >= 1 && port <= 65535) return { host, port };
  throw new MeshError('MESH_INPUT', `port ${digits} of ${JSON.stringify(word)}: allowed are 1 to 65535`);
}
