/** Whether what somebody filters by is a name of the mesh: a misspelt one looks like no traffic. */
import { didYouMean } from '../../lib/did-you-mean.ts';
import { canonicalIp } from '../../lib/mesh/state/ip.ts';
import { makerOf } from '../mesh/find.ts';
import type { MeshInventory, MeshReader } from '../mesh/reader.ts';
import { appOf } from '../observe/catalog-objects.ts';
import type { FlowFilter } from '../observe/flow-filter.ts';
import { complain } from '../output/say.ts';

type Names = Pick<FlowFilter, 'from' | 'to' | 'namespace'>;

/**
 * Looks the names of a filter up, as `passesFilter` reads them: a namespace, `namespace/name` of a pod, of what made it, of its
 * application, account or Service, or an address, which may be anybody's.
 *
 * @returns a line for each that nothing has
 */
export function unknownNames({ from, to, namespace }: Names, inventory: MeshInventory): string[] {
  const { pods, services, waypoints } = inventory;
  const namespaces = new Set([...pods, ...services, ...waypoints].map((each) => each.namespace));
  const parties = new Set([
    ...pods.flatMap((pod) =>
      [pod.name, makerOf(pod), appOf(pod.name, pod.labels).app, pod.account].map(
        (name) => `${pod.namespace}/${name ?? pod.name}`,
      ),
    ),
    ...services.map((each) => `${each.namespace}/${each.name}`),
    ...waypoints.flatMap((each) => [
      `${each.namespace}/${each.gateway}`,
      `${each.namespace}/${each.instance}`,
    ]),
  ]);
  const missing = (flag: string, word: string | undefined, isParty: boolean): string[] => {
    if (word === undefined) return [];
    const known = word.includes('/') && isParty ? parties : namespaces;
    if (known.has(word) || (isParty && canonicalIp(word) !== undefined)) return [];
    const guess = didYouMean(word, [...known]);
    return [
      `no pod, workload or Service matches ${flag} ${word}${guess === undefined ? '' : `; did you mean ${guess}?`}`,
    ];
  };
  return [
    ...missing('--from', from, true),
    ...missing('--to', to, true),
    ...missing('--namespace', namespace, false),
  ];
}

/**
 * Says on the error output which names of a filter nothing has, once: what is not there may come.
 *
 * @param goesOn whether the command goes on to look
 */
export async function tellUnknownNames(reader: MeshReader, filter: Names, goesOn: boolean): Promise<void> {
  if (filter.from === undefined && filter.to === undefined && filter.namespace === undefined) return;
  // A mesh that cannot say what there is may still tell its flows.
  const inventory = await reader.inventory().catch(() => undefined);
  // Who does not see all of it cannot say what there is not.
  if (inventory === undefined || reader.missing().length > 0) return;
  for (const line of unknownNames(filter, inventory))
    complain(`loam: ${line}${goesOn ? `${line.endsWith('?') ? '' : ';'} still watching` : ''}`);
}
