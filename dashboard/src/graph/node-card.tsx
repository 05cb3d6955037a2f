import { percent, rate } from '../format.ts';
import { selection } from '../state.ts';
import type { GraphNode } from '../types.ts';
import { factsOf } from './drawn.ts';
import { HEALTH_WORDS, healthOf } from './health.ts';

interface Props {
  readonly node: GraphNode;
  readonly x: number;
  readonly y: number;
  readonly selected: boolean;
  readonly pale: boolean;
  /** The tab key leads to it. */
  readonly reached: boolean;
  readonly calls: boolean;
}

/** A node of the graph: a button, so that keyboard and screen reader have it as well. */
export function NodeCard({ node, x, y, selected, pale, reached, calls }: Props) {
  const health = healthOf(node.inbound);
  return (
    <button
      type="button"
      class={`node ${node.kind} ${health}${selected ? ' selected' : ''}${pale ? ' pale' : ''}`}
      style={{ transform: `translate(${x}px, ${y}px)` }}
      data-id={node.id}
      tabIndex={reached ? 0 : -1}
      aria-pressed={selected}
      aria-label={inWords(node)}
      onClick={() => (selection.value = { kind: 'node', id: node.id })}
    >
      <span class="ring" style={{ '--share': `${(node.inbound?.success ?? 1) * 100}%` }} aria-hidden="true">
        <Glyph kind={node.kind} />
      </span>
      <span class="text">
        <span class="name">{node.name}</span>
        <span class="facts">{factsOf(node, calls)}</span>
      </span>
      {node.enrolled !== undefined && node.enrolled.in < node.enrolled.of ? (
        <span class="flag open" title="Not all of its pods are in the mesh" />
      ) : null}
      {node.waypoint === undefined ? null : (
        <span class="flag waypoint" title={`Behind waypoint ${node.waypoint}`} />
      )}
    </button>
  );
}

/** All that the card shows, for who hears it. */
export function inWords(node: GraphNode): string {
  const { inbound } = node;
  const parts = [`${node.name} in ${node.namespace}`, HEALTH_WORDS[healthOf(inbound)]];
  if (inbound !== undefined && inbound.ended > 0) {
    parts.push(
      `${rate(inbound.rate).replace('/s', ' per second').replace('/min', ' per minute')} ${inbound.of}`,
    );
    if (inbound.success !== undefined) parts.push(`${percent(inbound.success)} successful`);
    if (inbound.denied > 0) parts.push(`${inbound.denied} denied`);
  }
  if (node.waypoint !== undefined) parts.push(`behind waypoint ${node.waypoint}`);
  return parts.join(', ');
}

function Glyph({ kind }: Pick<GraphNode, 'kind'>) {
  if (kind === 'waypoint')
    return (
      <svg viewBox="0 0 16 16">
        <path d="M8 2l6 6-6 6-6-6z" />
      </svg>
    );
  if (kind === 'outside')
    return (
      <svg viewBox="0 0 16 16">
        <circle cx="8" cy="8" r="6" />
        <path d="M2 8h12M8 2c3 3.500 3 8.500 0 12M8 2c-3 3.500-3 8.500 0 12" />
      </svg>
    );
  return (
    <svg viewBox="0 0 16 16">
      <path d="M8 1.800l5.400 3.100v6.200L8 14.200l-5.400-3.100V4.900z" />
      <path d="M2.800 5L8 8l5.200-3M8 8v6" />
    </svg>
  );
}
