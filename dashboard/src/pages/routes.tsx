import { ms, percent, short } from '../format.ts';
import { Badge } from '../parts/bits.tsx';
import { Table } from '../parts/table.tsx';
import { catalog, href, state } from '../state.ts';
import type { SplitView } from '../types.ts';
import { Missing, PageHead } from './page-head.tsx';

function splitsOf(key: string): SplitView[] {
  return (state.value?.splits ?? []).filter(({ route }) => route === key);
}

const total = (splits: readonly SplitView[]): number => splits.reduce((sum, { ended }) => sum + ended, 0);

export function RoutesPage() {
  return (
    <div class="page">
      <PageHead title="Routes" note="Where waypoints send requests." />
      <Table
        caption="Routes"
        rows={catalog.value?.routes ?? []}
        rowKey={({ kind, namespace, name }) => `${kind}/${namespace}/${name}`}
        empty="No route is in force."
        columns={[
          {
            head: 'Route',
            by: ({ namespace, name }) => `${namespace}/${name}`,
            cell: ({ kind, namespace, name }) => (
              <a href={href('routes', kind, namespace, name)}>
                {namespace}/{name}
              </a>
            ),
          },
          { head: 'Kind', cell: ({ kind }) => kind, minor: true },
          { head: 'Service', cell: ({ parents }) => parents.join(', ') },
          {
            head: 'Rules',
            cell: ({ rules }) => String(rules.length),
            by: ({ rules }) => rules.length,
            number: true,
          },
          {
            head: 'Requests',
            cell: ({ rules }) => short(total(rules.flatMap(({ key }) => splitsOf(key)))),
            by: ({ rules }) => total(rules.flatMap(({ key }) => splitsOf(key))),
            number: true,
          },
        ]}
      />
    </div>
  );
}

export function RoutePage({ kind, name }: { readonly kind: string; readonly name: string }) {
  const found = catalog.value?.routes.find(
    (each) => each.kind === kind && `${each.namespace}/${each.name}` === name,
  );
  if (found === undefined) return <Missing what={`${kind} ${name}`} />;
  return (
    <div class="page">
      <PageHead title={name} note={kind}>
        {found.parents.map((parent) => (
          <a key={parent} href={href('services', ...parent.split('/'))}>
            <Badge kind="accent">Service {parent}</Badge>
          </a>
        ))}
      </PageHead>
      {found.rules.map(({ key, matches, backends }, n) => {
        const splits = splitsOf(key);
        const all = total(splits);
        const others = splits.filter(({ backend }) => !backends.some(({ service }) => service === backend));
        const rows = [
          ...backends.map(({ service, share }) => ({ service, share })),
          ...others.map(({ backend }) => ({ service: backend, share: undefined })),
        ];
        return (
          <section key={key} class="card">
            <h2>
              Rule {n + 1} <small>{matches.length === 0 ? 'all requests' : matches.join(' or ')}</small>
            </h2>
            <p class="note">
              {all === 0 ? 'No request took it in this time.' : `${short(all)} requests in this time.`}
            </p>
            <ul class="splits">
              {rows.map(({ service, share }) => {
                const split = splits.find(({ backend }) => backend === service);
                const measured = all === 0 ? undefined : (split?.ended ?? 0) / all;
                return (
                  <li key={service}>
                    <div class="split-head">
                      <a href={href('services', ...service.split('/'))}>{service}</a>
                      {share === undefined ? <Badge kind="warn">fallback</Badge> : null}
                      <span class="count">
                        {percent(measured)} measured ·{' '}
                        {share === undefined ? 'not configured' : `${percent(share)} configured`}
                      </span>
                    </div>
                    <div
                      class="split-bar"
                      role="img"
                      aria-label={`configured ${percent(share)}, measured ${percent(measured)}`}
                    >
                      <div class="measured" style={{ width: `${(measured ?? 0) * 100}%` }} />
                      {share === undefined ? null : (
                        <div class="configured" style={{ left: `${share * 100}%` }} />
                      )}
                    </div>
                    <p class="note">
                      {split === undefined
                        ? 'no request'
                        : `${short(split.ended)} requests, ${split.failed} failed, ${split.retries} retries, p50 ${ms(split.p50)}, p95 ${ms(split.p95)}`}
                      {split === undefined || Object.keys(split.workloads).length === 0
                        ? ''
                        : `; by ${Object.entries(split.workloads)
                            .map(([pod, count]) => `${pod} (${count})`)
                            .join(', ')}`}
                    </p>
                  </li>
                );
              })}
            </ul>
          </section>
        );
      })}
    </div>
  );
}
