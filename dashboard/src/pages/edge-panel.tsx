import { labelOf, policyOf } from '../names.ts';
import { Badge, Identities, Lock, PolicyNames, Tiles } from '../parts/bits.tsx';
import { History } from '../parts/chart.tsx';
import { href } from '../state.ts';
import type { GraphEdge } from '../types.ts';
import { Panel } from './panel.tsx';

export function EdgePanel({ edge }: { readonly edge: GraphEdge }) {
  const allowed = Object.keys(edge.allowedBy).length > 0;
  const denied = Object.keys(edge.deniedBy).length > 0;
  return (
    <Panel
      title={`${labelOf(edge.from)} → ${labelOf(edge.to)}`}
      kind={edge.of === 'requests' ? 'Requests' : 'Connections'}
    >
      <p class="badges">
        {edge.observed === undefined ? null : (
          <Badge kind="">
            observed
            {edge.observed.rtt50 === undefined ? '' : `, round trip ${edge.observed.rtt50.toFixed(2)} ms`}
            {edge.observed.retransmits > 0 ? `, ${edge.observed.retransmits} retransmitted` : ''}
          </Badge>
        )}
        {edge.mtls === undefined ? (
          <Badge kind="">nothing got through</Badge>
        ) : (
          <Badge kind={edge.mtls >= 0.999 ? 'good' : 'warn'}>
            <Lock share={edge.mtls} />{' '}
            {edge.mtls >= 0.999 ? 'mutual TLS' : edge.mtls > 0 ? 'partly mutual TLS' : 'plaintext'}
          </Badge>
        )}
        <Badge kind="accent">
          {edge.of === 'requests' ? 'read by a waypoint' : (edge.mtls ?? 1) > 0 ? 'tunnel' : 'direct'}
        </Badge>
        {edge.active > 0 ? <Badge kind="">{edge.active} open</Badge> : null}
        {edge.retries > 0 ? <Badge kind="warn">{edge.retries} retries</Badge> : null}
      </p>
      <Tiles traffic={edge} />
      <History from={edge.from} to={edge.to} />
      <h3>Who they proved to be</h3>
      <Identities edge={edge} />
      {edge.services.length === 0 ? null : (
        <>
          <h3>Dialled</h3>
          <ul class="plain links">
            {edge.services.map((name) => (
              <li key={name}>
                <a href={href('services', ...name.split('/'))}>{name}</a>
              </li>
            ))}
          </ul>
        </>
      )}
      {allowed ? (
        <>
          <h3>Let in by</h3>
          <PolicyNames names={edge.allowedBy} kindOf={policyOf} />
        </>
      ) : null}
      {denied ? (
        <>
          <h3>Denied by</h3>
          <PolicyNames names={edge.deniedBy} kindOf={policyOf} />
        </>
      ) : null}
      <Counts title="Answers" counts={edge.codes} />
      <Counts title="Response flags" counts={edge.flags} />
      <p>
        <a href={href('tap', `from=${edge.from}&to=${edge.to}`)}>Tap these as they happen</a>
      </p>
    </Panel>
  );
}

function Counts({ title, counts }: { title: string; counts: Readonly<Record<string, number>> }) {
  const all = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const most = Math.max(1, ...all.map(([, count]) => count));
  if (all.length === 0) return null;
  return (
    <>
      <h3>{title}</h3>
      <ul class="bars">
        {all.map(([name, count]) => (
          <li key={name} class={/^[45]|grpc-[1-9]/.test(name) ? (name.startsWith('4') ? 'warn' : 'bad') : ''}>
            <span>{name === '0' ? 'no answer' : name}</span>
            <meter min={0} max={most} value={count} aria-label={`${name}: ${count}`} />
            <span class="count">{count}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
