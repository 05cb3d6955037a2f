import { short } from '../format.ts';
import { countOf, labelOf, selectEdge } from '../names.ts';
import { Badge } from '../parts/bits.tsx';
import { Table } from '../parts/table.tsx';
import { catalog, href, state } from '../state.ts';
import type { CatalogPolicy } from '../types.ts';
import { Missing, PageHead } from './page-head.tsx';

interface Judged {
  readonly from: string;
  readonly to: string;
  readonly allowed: number;
  readonly denied: number;
}

function judgedBy(policy: CatalogPolicy): Judged[] {
  return (state.value?.graph.edges ?? []).flatMap(({ from, to, allowedBy, deniedBy }) => {
    const [allowed, denied] = [countOf(allowedBy, policy), countOf(deniedBy, policy)];
    return allowed + denied === 0 ? [] : [{ from, to, allowed, denied }];
  });
}

const sum = (all: readonly Judged[], of: 'allowed' | 'denied'): number =>
  all.reduce((total, each) => total + each[of], 0);

function Action({ policy }: { readonly policy: CatalogPolicy }) {
  const kind = ['DENY', 'STRICT'].includes(policy.action) ? 'bad' : policy.action === 'ALLOW' ? 'good' : '';
  if (policy.action === '') return null;
  return (
    <Badge kind={kind}>
      {policy.action}
      {policy.dryRun ? ' on trial' : ''}
    </Badge>
  );
}

export function PoliciesPage() {
  return (
    <div class="page">
      <PageHead title="Policies" note="What rules did in the time that is shown." />
      <Table
        caption="Policies"
        rows={catalog.value?.policies ?? []}
        rowKey={({ kind, namespace, name }) => `${kind}/${namespace}/${name}`}
        empty="There is no policy that you may see. Where there is none, everybody in the mesh may call everybody."
        columns={[
          {
            head: 'Policy',
            by: ({ namespace, name }) => `${namespace}/${name}`,
            cell: ({ kind, namespace, name }) => (
              <a href={href('policies', kind, namespace, name)}>
                {namespace}/{name}
              </a>
            ),
          },
          { head: 'Kind', cell: ({ kind }) => kind, by: ({ kind }) => kind, minor: true },
          { head: 'Action', cell: (policy) => <Action policy={policy} />, by: ({ action }) => action },
          { head: 'For', cell: ({ target }) => target, minor: true },
          {
            head: 'Let in',
            cell: (policy) => short(sum(judgedBy(policy), 'allowed')),
            by: (policy) => sum(judgedBy(policy), 'allowed'),
            number: true,
          },
          {
            head: 'Denied',
            cell: (policy) => short(sum(judgedBy(policy), 'denied')),
            by: (policy) => sum(judgedBy(policy), 'denied'),
            number: true,
          },
          {
            head: 'State',
            cell: ({ state: is }) => <Badge kind={is === 'accepted' ? 'good' : 'warn'}>{is}</Badge>,
            by: ({ state: is }) => is,
          },
        ]}
      />
    </div>
  );
}

export function PolicyPage({ kind, name }: { readonly kind: string; readonly name: string }) {
  const policy = catalog.value?.policies.find(
    (each) => each.kind === kind && `${each.namespace}/${each.name}` === name,
  );
  if (policy === undefined) return <Missing what={`${kind} ${name}`} />;
  const judged = judgedBy(policy);
  return (
    <div class="page">
      <PageHead title={name} note={kind}>
        <Action policy={policy} />
        <Badge kind={policy.state === 'accepted' ? 'good' : 'warn'}>{policy.state}</Badge>
        <Badge kind="">{policy.target}</Badge>
      </PageHead>
      {policy.message === undefined ? null : (
        <p class={policy.state === 'accepted' ? 'note' : 'trouble boxed'}>{policy.message}</p>
      )}
      <h2>Rules</h2>
      {policy.rules.length === 0 ? (
        <p class="empty">None: as an ALLOW it lets nobody in.</p>
      ) : (
        <ol class="rules">
          {policy.rules.map((rule, n) => (
            <li key={n}>
              <code>{rule}</code>
            </li>
          ))}
        </ol>
      )}
      <div class="columns">
        <Judgement
          title="Let in by it"
          judged={judged}
          of="allowed"
          empty="Nobody in this time. Where no ALLOW applies, calls pass without a rule."
        />
        <Judgement title="Denied by it" judged={judged} of="denied" empty="Nobody in this time." />
      </div>
      <p>
        <a href={href('tap', `policy=${name}`)}>Tap what it decides</a>
      </p>
    </div>
  );
}

function Judgement({
  title,
  judged,
  of,
  empty,
}: {
  title: string;
  judged: readonly Judged[];
  of: 'allowed' | 'denied';
  empty: string;
}) {
  return (
    <section>
      <h2>{title}</h2>
      <Table
        caption={title}
        rows={judged.filter((each) => each[of] > 0)}
        rowKey={({ from, to }) => `${from} ${to}`}
        empty={empty}
        columns={[
          {
            head: 'From',
            by: ({ from }) => from,
            cell: (each) => (
              <button type="button" class="link" onClick={() => selectEdge(each)}>
                {labelOf(each.from)}
              </button>
            ),
          },
          { head: 'To', cell: ({ to }) => labelOf(to), by: ({ to }) => to },
          { head: 'Calls', cell: (each) => short(each[of]), by: (each) => each[of], number: true },
        ]}
      />
    </section>
  );
}
