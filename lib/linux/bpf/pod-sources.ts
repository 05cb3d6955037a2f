/** The private sources (../private-sources.ts) of enrolled pods: routed at enrolment, and taken away at its end. */
import { ipFamily } from '../ip.ts';
import { closeFd } from '../libc.ts';
import { findNetns } from '../netns-search.ts';
import { privateSourcesRoute, routePrivateSources, unroutePrivateSources } from '../private-sources.ts';
import { BpfError } from './errors.ts';

/**
 * For every pod that has IPv6 at all: connections to addresses that nobody listed are carried too.
 *
 * @throws BpfError BPF_ROUTE when a pod that is to be reached over IPv6 could not be
 */
export function routeSources(pod: {
  readonly netnsFd: number;
  readonly cookie: bigint;
  readonly ips: readonly string[];
}): void {
  routePrivateSources(pod.netnsFd);
  if (!pod.ips.some((ip) => ipFamily(ip) === 6)) return;
  const route = privateSourcesRoute(pod.netnsFd);
  if (route === 'ours') return;
  const text = `the network namespace with cookie ${pod.cookie} does not route the private sources to lo`;
  throw new BpfError(
    'BPF_ROUTE',
    `${text} (${route === 'none' ? 'is lo down?' : 'another route is stronger'})`,
  );
}

/** Takes the routes of namespaces away that still live, wherever they are. */
export function unrouteSources(cookies: ReadonlySet<bigint>): void {
  for (const netnsFd of findNetns(cookies).values()) {
    unroutePrivateSources(netnsFd);
    closeFd(netnsFd);
  }
}
