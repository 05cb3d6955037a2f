import { percent, rate, ms } from '../format.ts';
import { Badge, HealthDot, Tiles } from '../parts/bits.tsx';
import { History } from '../parts/chart.tsx';
import { LongHistory } from '../parts/long-history.tsx';
import { Table } from '../parts/table.tsx';
import { TrafficTable } from '../parts/traffic-table.tsx';
import { catalog, go, href, selection, state } from '../state.ts';
import type { CatalogPolicy, CatalogService, GraphNode } from '../types.ts';
import { Missing, PageHead } from './page-head.tsx';

/** The application of a Service: the one with all of its pods. */
function nodeOf(service: CatalogService): GraphNode | undefined {
  const name = `${service.namespace}/${service.name}`;
  const all = state.value?.graph.nodes.filter(({ services }) => services.includes(name)) ?? [];
  return all.length === 1 ? all[0] : undefined;
}

/** Whether a policy names the Service, its waypoint, its application or all of its namespace. */
function isFor(policy: CatalogPolicy, service: CatalogService, node: GraphNode | undefined): boolean {
  const named = policy.target.replace(/^pods with /, '').split(', ');
  const [of, waypoint] = service.waypoint?.split('/') ?? [];
  if (policy.namespace === of && named.includes(`Gateway ${waypoint}`)) return true;
  return (
    policy.namespace === service.namespace &&
    (policy.target === 'the whole namespace' ||
      named.includes(`Service ${service.name}`) ||
      (node !== undefined && named.includes(`app=${node.name}`)))
  );
}

export function ServicesPage() {
  const services = catalog.value?.services ?? [];
  return (
    <div class="page">
      <PageHead title="Services" note="What is asked of each application behind a Service." />
      <Table
        caption="Services"
        rows={services}
        rowKey={({ namespace, name }) => `${namespace}/${name}`}
        empty="The mesh has no Services."
        columns={[
          {
            head: 'Service',
            by: ({ namespace, name }) => `${namespace}/${name}`,
            cell: (service) => (
              <a href={href('services', service.namespace, service.name)}>
                <HealthDot traffic={nodeOf(service)?.inbound} /> {service.namespace}/{service.name}
              </a>
            ),
          },
          { head: 'Ports', cell: ({ ports }) => ports.join(', '), minor: true },
          {
            head: 'Pods',
            cell: ({ pods }) => String(pods.length),
            by: ({ pods }) => pods.length,
            number: true,
          },
          {
            head: 'Path',
            cell: ({ waypoint }) => (waypoint === undefined ? 'tunnel' : `waypoint ${waypoint}`),
            minor: true,
          },
          {
            head: 'Rate',
            cell: (s) => rate(nodeOf(s)?.inbound?.rate ?? 0),
            by: (s) => nodeOf(s)?.inbound?.rate ?? 0,
            number: true,
          },
          {
            head: 'Success',
            cell: (s) => percent(nodeOf(s)?.inbound?.success),
            by: (s) => nodeOf(s)?.inbound?.success ?? 2,
            number: true,
          },
          {
            head: 'p95',
            cell: (s) => ms(nodeOf(s)?.inbound?.p95),
            by: (s) => nodeOf(s)?.inbound?.p95 ?? 0,
            number: true,
          },
        ]}
      />
    </div>
  );
}

export function ServicePage({ name }: { readonly name: string }) {
  const service = catalog.value?.services.find((each) => `${each.namespace}/${each.name}` === name);
  if (service === undefined) return <Missing what={`Service ${name}`} />;
  const node = nodeOf(service);
  const graph = state.value?.graph;
  const callers = graph?.edges.filter((edge) => edge.services.includes(name)) ?? [];
  const calls = graph?.edges.filter(({ from }) => from === node?.id) ?? [];
  const routes = catalog.value?.routes.filter(({ parents }) => parents.includes(name)) ?? [];
  const policies = catalog.value?.policies.filter((policy) => isFor(policy, service, node)) ?? [];
  return (
    <div class="page">
      <PageHead title={name} note="Service">
        <Badge kind="accent">
          {service.waypoint === undefined ? 'tunnel' : `waypoint ${service.waypoint}`}
        </Badge>
        {service.ports.map((port) => (
          <Badge key={port} kind="">
            {port}
          </Badge>
        ))}
        {node === undefined ? null : (
          <button
            type="button"
            class="button"
            onClick={() => {
              selection.value = { kind: 'node', id: node.id };
              go();
            }}
          >
            Show in the graph
          </button>
        )}
      </PageHead>
      {node === undefined && callers.length > 0 ? (
        <p class="note">Its pods are of several applications: each has numbers of its own, below.</p>
      ) : (
        <Tiles traffic={node?.inbound} />
      )}
      {node === undefined ? null : <History to={node.id} />}
      <LongHistory service={name} />
      <h2>Called by</h2>
      <TrafficTable
        edges={callers}
        end={new Set(callers.map(({ to }) => to)).size > 1 ? 'both' : 'from'}
        caption={`Callers of ${name}`}
        empty="Nobody called it in this time."
      />
      <h2>Its pods call</h2>
      <TrafficTable
        edges={calls}
        end="to"
        caption={`Called by ${name}`}
        empty="They called nobody in this time."
      />
      <div class="columns">
        <section>
          <h2>Pods</h2>
          <ul class="plain links">
            {service.pods.length === 0 ? <li class="empty">none: whoever calls it is refused</li> : null}
            {service.pods.map((pod) => (
              <li key={pod}>
                <a href={href('workloads', ...pod.split('/'))}>{pod}</a>
              </li>
            ))}
          </ul>
        </section>
        <section>
          <h2>Routes</h2>
          <ul class="plain links">
            {routes.length === 0 ? <li class="empty">none: to any of its pods</li> : null}
            {routes.map((route) => (
              <li key={route.name}>
                <a href={href('routes', route.kind, route.namespace, route.name)}>
                  {route.namespace}/{route.name}
                </a>
              </li>
            ))}
          </ul>
        </section>
        <section>
          <h2>Policies</h2>
          <ul class="plain links">
            {policies.length === 0 ? (
              <>
                <li class="empty">none that names it; others are for the whole mesh, or by labels</li>
                <li>
                  <a href={href('policies')}>All policies</a>
                </li>
              </>
            ) : null}
            {policies.map((policy) => (
              <li key={policy.kind + policy.name}>
                <a href={href('policies', policy.kind, policy.namespace, policy.name)}>
                  {policy.namespace}/{policy.name}
                </a>{' '}
                <small>{policy.kind}</small>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </div>
  );
}
