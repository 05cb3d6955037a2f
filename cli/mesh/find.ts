/** What a person means by a word: a pod, a Service, an address. */
import { didYouMean } from '../../lib/did-you-mean.ts';
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
const MAX_NAMES = 10;

/** What is there, as far as it is known: of the other kind, too, which may be meant. */
type Known<K extends 'pods' | 'services'> = Pick<MeshInventory, K> & Partial<MeshInventory>;

/**
 * A pod by its name, or by that of what made it: of its pods, which are alike, a ready one.
 *
 * @param forService what does the same for a Service: `loam describe service`
 * @throws MeshError MESH_INPUT when there is none, or several
 */
export function findPod({ pods, services = [] }: Known<'pods'>, word: string, forService?: string): MeshPod {
  const name = word.replace(/^pods?\//, '');
  const found = podsMeant(pods, name);
  const [pod] = found;
  if (pod !== undefined && found.length === 1) return pod;
  const [service] = found.length > 0 ? [] : matching(services, name);
  if (service === undefined) throw none('pod', name, pods, found);
  const own = Object.entries(service.selector);
  const behind = pods.filter(
    ({ namespace, labels }) =>
      own.length > 0 && namespace === service.namespace && own.every(([key, value]) => labels[key] === value),
  );
  throw otherKind(name, 'Service', forService, `a pod is wanted; behind it are: ${listed(behind)}`);
}

/**
 * @param forPod what does the same for a pod: `loam describe pod`
 * @throws MeshError MESH_INPUT when there is none, or several
 */
export function findService(
  { services, pods = [] }: Known<'services'>,
  word: string,
  forPod?: string,
): MeshService {
  const name = word.replace(/^(services?|svc)\//, '');
  const found = matching(services, name);
  const [service] = found;
  if (service !== undefined && found.length === 1) return service;
  if (found.length > 0 || podsMeant(pods, name).length === 0) throw none('Service', name, services, found);
  throw otherKind(name, 'pod', forPod, 'a Service is wanted');
}

function otherKind(name: string, is: string, command: string | undefined, wanted: string): MeshError {
  return new MeshError(
    'MESH_INPUT',
    `${name} is a ${is}${command === undefined ? `, and ${wanted}` : `: ${command} ${name}`}`,
  );
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
export function makerOf({ name, labels }: Pick<MeshPod, 'name' | 'labels'>): string | undefined {
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
  if (found.length > 1)
    return new MeshError('MESH_INPUT', `several are named ${word}; say which: ${listed(found)}`);
  const guess = guessOf(word, all);
  return new MeshError(
    'MESH_INPUT',
    `there is no ${what} ${JSON.stringify(word)}${guess === undefined ? '' : `; did you mean ${guess}?`}; there are: ${listed(all)}; allowed: ${FORMS}`,
  );
}

/** The `namespace/name` that was most likely meant: the whole of it, or the name alone where no namespace was given. */
function guessOf(word: string, all: readonly Named[]): string | undefined {
  const keys = all.map(({ namespace, name }) => `${namespace}/${name}`);
  if (word.includes('/')) return didYouMean(word, keys);
  const name = didYouMean(
    word,
    all.map((each) => each.name),
  );
  return keys[all.findIndex((each) => each.name === name)];
}

function listed(some: readonly Named[]): string {
  const names = [...new Set(some.map(({ namespace, name }) => `${namespace}/${name}`))].sort();
  const shown = names.slice(0, MAX_NAMES).join(', ');
  return names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown || 'none';
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
