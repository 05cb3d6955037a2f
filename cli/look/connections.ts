import { bytesText } from '../demo/text.ts';
import { earlierLines, hasEarlier, type Earlier, type EarlierOfPod } from '../mesh/earlier.ts';
import type { MeshInventory, MeshPod, MeshReader } from '../mesh/reader.ts';
import type { Colours } from '../output/colours.ts';
import { tableLines } from '../output/table.ts';
import { identityText, spanText } from '../output/words.ts';
import { askAll, ztunnels } from './ask-all.ts';

interface End {
  readonly address: string;
  readonly workload?: string;
  readonly namespace?: string;
  readonly identity?: string;
}

/** A connection as the node of one of its ends tells it (ztunnel's `GET /connections`). */
export interface Connection {
  readonly node: string;
  readonly podUid: string;
  readonly direction: 'inbound' | 'outbound';
  readonly state: 'opening' | 'open';
  readonly since: string;
  readonly source: End;
  readonly via?: string;
  readonly destination: End & { readonly service?: string; readonly hboneAddress?: string };
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export interface ConnectionFilter {
  /** `namespace/name` of a pod at either end. */
  readonly pod?: string;
  readonly namespace?: string;
  readonly direction?: Connection['direction'];
}

export interface Connections {
  readonly connections: readonly Connection[];
  /** Those that no node carries: from before their pods came into the mesh, in plaintext. */
  readonly earlier: readonly EarlierOfPod[];
  readonly problems: readonly string[];
}

/** All that is open now; one between two pods of the mesh is told by the nodes of both. */
export async function openConnections(
  reader: MeshReader,
  inventory: MeshInventory,
  filter: ConnectionFilter,
): Promise<Connections> {
  const { answers, problems } = await askAll<{ connections: Omit<Connection, 'node'>[] }>(
    reader,
    ztunnels(inventory),
    '/connections',
  );
  const agents = await askAll<{ pods: readonly { uid: string; earlier?: Earlier }[] }>(
    reader,
    inventory.nodes.map((node) => ({ program: 'agent', node })),
    '/status',
  );
  const podOf = new Map(inventory.pods.map(({ uid, namespace, name }) => [uid, `${namespace}/${name}`]));
  const connections = answers
    .flatMap(({ program, answer }) =>
      answer.connections.map((row): Connection => ({ node: 'node' in program ? program.node : '', ...row })),
    )
    .filter((row) => passes(row, podOf.get(row.podUid), filter))
    .sort((a, b) => (a.since < b.since ? -1 : 1));
  const earlier = agents.answers
    .flatMap(({ answer }) => answer.pods)
    .filter(hasEarlier)
    .flatMap(({ uid, earlier: { count, cutAt } }): EarlierOfPod[] => {
      const pod = inventory.pods.find((each) => each.uid === uid);
      if (pod === undefined || !isAsked(pod, filter)) return [];
      return [{ namespace: pod.namespace, name: pod.name, count, ...(cutAt !== undefined && { cutAt }) }];
    });
  return { connections, earlier, problems: [...problems, ...agents.problems] };
}

function isAsked({ namespace, name }: MeshPod, filter: ConnectionFilter): boolean {
  if (filter.pod !== undefined && filter.pod !== `${namespace}/${name}`) return false;
  return filter.namespace === undefined || filter.namespace === namespace;
}

function passes(
  { source, destination, direction }: Connection,
  own: string | undefined,
  filter: ConnectionFilter,
): boolean {
  const ends = [nameOf(source), nameOf(destination), own];
  if (filter.direction !== undefined && direction !== filter.direction) return false;
  if (filter.pod !== undefined && !ends.includes(filter.pod)) return false;
  return (
    filter.namespace === undefined || ends.some((end) => end?.startsWith(`${filter.namespace}/`) === true)
  );
}

function nameOf({ namespace, workload }: End): string | undefined {
  return workload === undefined ? undefined : `${namespace ?? ''}/${workload}`;
}

export function connectionLines(
  { connections, earlier, problems }: Connections,
  colours: Colours,
  now: number,
): string[] {
  const rows = connections.map((row) => [
    row.node,
    row.direction === 'inbound' ? 'in' : 'out',
    nameOf(row.source) ?? row.source.address,
    nameOf(row.destination) ?? row.destination.address,
    row.destination.service ?? '',
    row.via ?? '',
    row.source.identity !== undefined ? 'mTLS' : colours.odd('plain'),
    row.state === 'open' ? spanText(now - Date.parse(row.since)) : row.state,
    bytesText(row.bytesSent),
    bytesText(row.bytesReceived),
    identityText(row.source.identity),
  ]);
  const head = [
    'NODE',
    'DIR',
    'SOURCE',
    'DESTINATION',
    'SERVICE',
    'VIA',
    'BY',
    'FOR',
    'SENT',
    'RECEIVED',
    'CLIENT IDENTITY',
  ];
  return [
    ...(rows.length === 0
      ? [earlier.length === 0 ? 'No connection is open.' : 'No connection is open through the mesh.']
      : tableLines([head.map((name) => colours.dim(name)), ...rows], [7, 8, 9])),
    ...earlierLines(earlier).map((line) => colours.odd(line)),
    ...problems.map((problem) => colours.bad(`! ${problem}`)),
  ];
}
