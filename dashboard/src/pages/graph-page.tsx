import { signal } from '@preact/signals';
import { GraphView } from '../graph/graph-view.tsx';
import { Replay } from '../parts/replay.tsx';
import { TrafficTable } from '../parts/traffic-table.tsx';
import { hidden, selection, state } from '../state.ts';
import { EdgePanel } from './edge-panel.tsx';
import { NodePanel } from './node-panel.tsx';

const asTable = signal(false);

export function GraphPage() {
  const graph = state.value?.graph;
  if (graph === undefined) return <p class="empty big">Asking the mesh …</p>;
  const chosen = selection.value;
  const node = chosen?.kind === 'node' ? graph.nodes.find(({ id }) => id === chosen.id) : undefined;
  const edge =
    chosen?.kind === 'edge'
      ? graph.edges.find(({ from, to }) => from === chosen.from && to === chosen.to)
      : undefined;
  const namespaces = [...new Set(graph.nodes.map(({ namespace }) => namespace))].sort();
  return (
    <div class="graph-page">
      <h1 class="hidden">Service graph</h1>
      <div class="toolbar">
        <fieldset class="chips">
          <legend class="hidden">Namespaces that are shown</legend>
          {namespaces.slice(0, 24).map((name) => (
            <label key={name} class="chip">
              <input
                type="checkbox"
                checked={!hidden.value.has(name)}
                onChange={(event) => {
                  const next = new Set(hidden.value);
                  if (event.currentTarget.checked) next.delete(name);
                  else next.add(name);
                  hidden.value = next;
                }}
              />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
        <div class="segmented" role="group" aria-label="Form">
          <button type="button" aria-pressed={!asTable.value} onClick={() => (asTable.value = false)}>
            Graph
          </button>
          <button type="button" aria-pressed={asTable.value} onClick={() => (asTable.value = true)}>
            Table
          </button>
        </div>
      </div>
      <div class="stage">
        {asTable.value ? (
          <div class="page">
            <TrafficTable
              edges={graph.edges.filter(
                ({ from, to }) => !hidden.value.has(namespaceOf(from)) && !hidden.value.has(namespaceOf(to)),
              )}
              end="both"
              caption="All calls of the mesh"
              empty="Nobody called anybody in this time."
            />
          </div>
        ) : (
          <GraphView graph={graph} />
        )}
        {node !== undefined ? <NodePanel node={node} graph={graph} /> : null}
        {edge !== undefined ? <EdgePanel edge={edge} /> : null}
      </div>
      <Replay />
    </div>
  );
}

function namespaceOf(id: string): string {
  return id.slice(0, id.indexOf('/'));
}
