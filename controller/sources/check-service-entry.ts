import type { ServiceEntry } from '../model/objects.ts';
import { FORMATS } from '../schema/formats.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';

const IP = FORMATS.find(({ name }) => name === 'ip');
const NAME = FORMATS.find(({ name }) => name === 'subdomain');
const CLUSTER_NAMES = '.svc.cluster.local';
const EVERYBODY = '*';
const OWN_NAMESPACE = '.';

/** What a schema cannot say of a ServiceEntry: rules between its fields (Istio: ServiceEntry). */
export function checkServiceEntry({ spec }: ServiceEntry): FieldProblem[] {
  const { hosts, addresses = [], ports, resolution = 'NONE', endpoints = [], exportTo = [] } = spec;
  const selects = spec.workloadSelector !== undefined;
  const found: FieldProblem[] = [];
  hosts.forEach((host, i) => {
    // Those names are Services', by which nodes know waypoints, too.
    if (host.endsWith(CLUSTER_NAMES))
      found.push(notAllowed(['spec', 'hosts', i], host, `no name of the cluster's own (${CLUSTER_NAMES})`));
    const isWildcard = host.startsWith('*.');
    const allowed =
      resolution === 'NONE'
        ? 'a DNS name, or *. and a DNS name'
        : `a DNS name, where resolution is ${resolution}`;
    if (NAME?.check(isWildcard ? host.slice(2) : host) !== true || (isWildcard && resolution !== 'NONE'))
      found.push(notAllowed(['spec', 'hosts', i], host, allowed));
  });
  found.push(
    ...duplicates(hosts, (host) => host, ['spec', 'hosts'], 'host'),
    ...duplicates(ports, ({ name }) => name, ['spec', 'ports'], 'port name'),
    ...duplicates(ports, (port) => String(port.number), ['spec', 'ports'], 'port'),
  );
  if (hosts.length > 1 && addresses.length > 0)
    found.push(
      problem(['spec', 'addresses'], 'addresses stand for one host: give each host an entry of its own'),
    );
  const at: Path = ['spec', 'endpoints'];
  if (selects && endpoints.length > 0)
    found.push(problem(at, 'only one of endpoints and workloadSelector may be set'));
  if (resolution === 'NONE' && (endpoints.length > 0 || selects))
    found.push(problem(at, 'resolution NONE leads to the address that was dialled, and has no endpoints'));
  if (resolution === 'STATIC')
    endpoints.forEach(({ address }, i) => {
      if (address === undefined || IP?.check(address) !== true)
        found.push(
          notAllowed(
            [...at, i, 'address'],
            address ?? null,
            `${IP?.allowed ?? ''}, where resolution is STATIC`,
          ),
        );
    });
  if (resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN')
    endpoints.forEach(({ address = '' }, i) => {
      if (IP?.check(address) === true) return;
      if (NAME?.check(address) !== true || address.endsWith(CLUSTER_NAMES))
        found.push(
          notAllowed(
            [...at, i, 'address'],
            address,
            `a DNS name, none of the cluster's own (${CLUSTER_NAMES}), or ${IP?.allowed ?? 'an address'}, where resolution is ${resolution}`,
          ),
        );
    });
  const names = ports.map(({ name }) => name);
  endpoints.forEach((endpoint, i) => {
    for (const name of Object.keys(endpoint.ports ?? {}))
      if (!names.includes(name)) found.push(notAllowed([...at, i, 'ports', name], name, names.join(', ')));
  });
  exportTo.forEach((namespace, i) => {
    if (namespace !== EVERYBODY && namespace !== OWN_NAMESPACE)
      found.push(notAllowed(['spec', 'exportTo', i], namespace, `"${OWN_NAMESPACE}" or "${EVERYBODY}"`));
  });
  return found;
}
