import { useEffect, useState } from 'preact/hooks';
import { getJson } from '../api.ts';
import { Badge, Tiles } from '../parts/bits.tsx';
import { Table } from '../parts/table.tsx';
import { TrafficTable } from '../parts/traffic-table.tsx';
import { catalog, href, state, until, windowMs } from '../state.ts';
import type { CatalogPod, DashboardState, Graph } from '../types.ts';
import { Missing, PageHead } from './page-head.tsx';

function Enrolment({ pod }: { readonly pod: CatalogPod }) {
  if (pod.enrolled === undefined) return <Badge kind="warn">not known</Badge>;
  return <Badge kind={pod.enrolled ? 'good' : 'warn'}>{pod.enrolled ? 'in the mesh' : 'outside'}</Badge>;
}

export function WorkloadsPage() {
  const pods = catalog.value?.pods ?? [];
  return (
    <div class="page">
      <PageHead title="Workloads" note="Pods, as the kernel of their node shows them." />
      <Table
        caption="Workloads"
        rows={pods}
        rowKey={({ namespace, name }) => `${namespace}/${name}`}
        empty="No pod runs."
        columns={[
          {
            head: 'Pod',
            by: ({ namespace, name }) => `${namespace}/${name}`,
            cell: ({ namespace, name }) => (
              <a href={href('workloads', namespace, name)}>
                {namespace}/{name}
              </a>
            ),
          },
          {
            head: 'Mesh',
            cell: (pod) => <Enrolment pod={pod} />,
            by: ({ enrolled }) => Number(enrolled ?? -1),
          },
          { head: 'Ready', cell: ({ ready }) => (ready ? 'yes' : 'no'), by: ({ ready }) => Number(ready) },
          {
            head: 'Application',
            cell: ({ app, version }) => [app, version].filter(Boolean).join(' '),
            by: ({ app }) => app,
          },
          { head: 'Account', cell: ({ account }) => account, by: ({ account }) => account, minor: true },
          { head: 'Node', cell: ({ node }) => node, by: ({ node }) => node, minor: true },
          { head: 'Addresses', cell: ({ ips }) => ips.join(', '), minor: true },
        ]}
      />
    </div>
  );
}

export function WorkloadPage({ name }: { readonly name: string }) {
  const pod = catalog.value?.pods.find((each) => `${each.namespace}/${each.name}` === name);
  const [graph, setGraph] = useState<Graph | undefined>(undefined);
  const at = state.value?.graph.at ?? 0;
  useEffect(() => {
    const asked = new AbortController();
    void getJson<DashboardState>(
      'state',
      { by: 'workload', window: windowMs.value, until: until.value },
      asked.signal,
    ).then(
      (next) => setGraph(next.graph),
      () => undefined,
    );
    return () => asked.abort();
  }, [name, Math.floor(at / 2_000), windowMs.value]);
  if (pod === undefined) return <Missing what={`pod ${name}`} />;
  const node = graph?.nodes.find(({ id }) => id === name);
  const services = catalog.value?.services.filter(({ pods }) => pods.includes(name)) ?? [];
  return (
    <div class="page">
      <PageHead title={name} note="Pod">
        <Enrolment pod={pod} />
        <Badge kind={pod.ready ? 'good' : 'warn'}>{pod.ready ? 'ready' : 'not ready'}</Badge>
        <Badge kind="">{pod.node}</Badge>
        <Badge kind="">account {pod.account}</Badge>
        {pod.version === undefined ? null : <Badge kind="">{pod.version}</Badge>}
      </PageHead>
      {pod.problem === undefined ? null : <p class="trouble boxed">{pod.problem}</p>}
      <Tiles traffic={node?.inbound} />
      <h2>Called by</h2>
      <TrafficTable
        edges={graph?.edges.filter(({ to }) => to === name) ?? []}
        end="from"
        caption={`Callers of ${name}`}
        empty="Nobody called it in this time."
      />
      <h2>Calls</h2>
      <TrafficTable
        edges={graph?.edges.filter(({ from }) => from === name) ?? []}
        end="to"
        caption={`Called by ${name}`}
        empty="It called nobody in this time."
      />
      <h2>Services</h2>
      <ul class="plain links">
        {services.length === 0 ? <li class="empty">none</li> : null}
        {services.map((service) => (
          <li key={service.name}>
            <a href={href('services', service.namespace, service.name)}>
              {service.namespace}/{service.name}
            </a>
          </li>
        ))}
      </ul>
      <p>
        <a href={href('tap', `from=${name}`)}>Tap what it calls</a> ·{' '}
        <a href={href('tap', `to=${name}`)}>Tap who calls it</a>
      </p>
    </div>
  );
}
