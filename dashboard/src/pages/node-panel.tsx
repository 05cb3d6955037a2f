import { rate } from '../format.ts';
import { labelOf } from '../names.ts';
import { Badge, HealthDot, Lock, Tiles } from '../parts/bits.tsx';
import { History } from '../parts/chart.tsx';
import { href, selection } from '../state.ts';
import type { Graph, GraphEdge, GraphNode } from '../types.ts';
import { Panel } from './panel.tsx';

export function NodePanel({ node, graph }: { readonly node: GraphNode; readonly graph: Graph }) {
  const callers = graph.edges.filter(({ to }) => to === node.id);
  const called = graph.edges.filter(({ from }) => from === node.id);
  return (
    <Panel title={node.name} kind={node.kind === 'app' ? `Application in ${node.namespace}` : node.kind}>
      <p class="badges">
        {node.enrolled === undefined ? null : (
          <Badge kind={node.enrolled.in === node.enrolled.of ? 'good' : 'warn'}>
            {node.enrolled.in === node.enrolled.of
              ? 'in the mesh'
              : `${node.enrolled.in} of ${node.enrolled.of} pods in the mesh`}
          </Badge>
        )}
        {node.waypoint === undefined ? null : <Badge kind="accent">waypoint {node.waypoint}</Badge>}
        {node.versions.map((version) => (
          <Badge key={version} kind="">
            {version}
          </Badge>
        ))}
      </p>
      <Tiles traffic={node.inbound} />
      {node.inbound === undefined ? null : <History to={node.id} />}
      <Links title="Called by" edges={callers} end="from" />
      <Links title="Calls" edges={called} end="to" />
      <h3>Services</h3>
      <ul class="plain links">
        {node.services.length === 0 ? <li class="empty">none</li> : null}
        {node.services.map((name) => (
          <li key={name}>
            <a href={href('services', ...name.split('/'))}>{name}</a>
          </li>
        ))}
      </ul>
      <h3>Pods</h3>
      <ul class="plain links">
        {node.workloads.map((name) => (
          <li key={name}>
            <a href={href('workloads', ...name.split('/'))}>{name}</a>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Links({ title, edges, end }: { title: string; edges: readonly GraphEdge[]; end: 'from' | 'to' }) {
  return (
    <>
      <h3>{title}</h3>
      {edges.length === 0 ? (
        <p class="empty">nobody in this time</p>
      ) : (
        <ul class="plain edges">
          {edges.map((edge) => (
            <li key={edge[end]}>
              <button
                type="button"
                class="row"
                onClick={() => (selection.value = { kind: 'edge', from: edge.from, to: edge.to })}
              >
                <HealthDot traffic={edge} />
                <span class="grow">{labelOf(edge[end])}</span>
                <span class="count">
                  {edge.denied > 0 && edge.denied === edge.ended ? 'denied' : rate(edge.rate)}
                </span>
                <Lock share={edge.mtls} />
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
