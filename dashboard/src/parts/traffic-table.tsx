import { bytes, ms, percent, rate } from '../format.ts';
import { labelOf, selectEdge } from '../names.ts';
import type { GraphEdge } from '../types.ts';
import { HealthDot, Lock } from './bits.tsx';
import { Table, type Column } from './table.tsx';

const NUMBERS: readonly Column<GraphEdge>[] = [
  { head: 'Rate', cell: (edge) => rate(edge.rate), by: (edge) => edge.rate, number: true },
  { head: 'Success', cell: (edge) => percent(edge.success), by: (edge) => edge.success ?? 2, number: true },
  { head: 'p50', cell: (edge) => ms(edge.p50), by: (edge) => edge.p50 ?? 0, number: true },
  { head: 'p95', cell: (edge) => ms(edge.p95), by: (edge) => edge.p95 ?? 0, number: true, minor: true },
  { head: 'p99', cell: (edge) => ms(edge.p99), by: (edge) => edge.p99 ?? 0, number: true, minor: true },
  {
    head: 'Denied',
    cell: (edge) => (edge.denied === 0 ? '–' : String(edge.denied)),
    by: (edge) => edge.denied,
    number: true,
  },
  {
    head: 'Bytes',
    cell: (edge) => `${bytes(edge.up + edge.down)}/s`,
    by: (edge) => edge.up + edge.down,
    number: true,
    minor: true,
  },
];

/** Who calls, or who is called. */
export function TrafficTable({
  edges,
  end,
  caption,
  empty,
}: {
  edges: readonly GraphEdge[];
  end: 'from' | 'to' | 'both';
  caption: string;
  empty: string;
}) {
  const name = (head: string, of: 'from' | 'to'): Column<GraphEdge> => ({
    head,
    by: (edge) => edge[of],
    cell: (edge) => (
      <button type="button" class="link" onClick={() => selectEdge(edge)}>
        {of === 'from' || end === 'to' ? <HealthDot traffic={edge} /> : null} {labelOf(edge[of])}
      </button>
    ),
  });
  const columns: Column<GraphEdge>[] = [
    ...(end === 'to' ? [] : [name('From', 'from')]),
    ...(end === 'from' ? [] : [name('To', 'to')]),
    {
      head: 'Path',
      cell: (edge) => (
        <span class="path">
          <Lock share={edge.mtls} />{' '}
          {edge.of === 'requests'
            ? 'waypoint'
            : edge.mtls === undefined
              ? ''
              : edge.mtls > 0
                ? 'tunnel'
                : 'direct'}
        </span>
      ),
    },
    ...NUMBERS,
  ];
  return <Table {...{ caption, columns, rows: edges, empty }} rowKey={(edge) => `${edge.from} ${edge.to}`} />;
}
