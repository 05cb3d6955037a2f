import type { ComponentChildren } from 'preact';
import { bytes, identity, ms, percent, rate, short } from '../format.ts';
import { HEALTH_WORDS, healthOf } from '../graph/health.ts';
import { href } from '../state.ts';
import type { GraphEdge, Traffic } from '../types.ts';

export function Lock({ share }: { readonly share: number | undefined }) {
  if (share === undefined)
    return (
      <span class="lock none" title="nothing got through">
        –<span class="hidden">nothing got through</span>
      </span>
    );
  const closed = share >= 0.999;
  const text = closed ? 'mutual TLS' : share > 0 ? `${percent(share)} mutual TLS` : 'plaintext';
  return (
    <span class={`lock ${closed ? 'good' : 'warn'}`} title={text}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <rect x="3" y="7" width="10" height="7" rx="1.5" />
        <path d={closed ? 'M5 7V5a3 3 0 0 1 6 0v2' : 'M5 7V5a3 3 0 0 1 5.800-1'} />
      </svg>
      <span class="hidden">{text}</span>
    </span>
  );
}

export function Badge({ kind, children }: { readonly kind: string; readonly children: ComponentChildren }) {
  return <span class={`badge ${kind}`}>{children}</span>;
}

export function HealthDot({ traffic }: { readonly traffic: Traffic | undefined }) {
  const health = healthOf(traffic);
  return (
    <span class={`dot ${health}`} title={HEALTH_WORDS[health]}>
      <span class="hidden">{HEALTH_WORDS[health]}</span>
    </span>
  );
}

/** The four numbers that everybody looks for. */
export function Tiles({ traffic }: { readonly traffic: Traffic | undefined }) {
  if (traffic === undefined) return <p class="empty">Nothing was asked of it in this time.</p>;
  const failing = healthOf(traffic);
  return (
    <dl class="tiles">
      <Tile
        name={traffic.of === 'requests' ? 'Requests' : 'Connections'}
        value={rate(traffic.rate)}
        note={`${short(traffic.ended)} in all`}
      />
      <Tile
        name="Success"
        value={percent(traffic.success)}
        note={`${traffic.failed} failed · ${traffic.denied} denied`}
        kind={failing === 'good' ? '' : failing}
      />
      <Tile
        name={traffic.of === 'requests' ? 'Latency p50' : 'Duration p50'}
        value={ms(traffic.p50)}
        note={`p95 ${ms(traffic.p95)} · p99 ${ms(traffic.p99)}`}
      />
      <Tile
        name="Bytes"
        value={`${bytes(traffic.up + traffic.down)}/s`}
        note={`${bytes(traffic.up)}/s in · ${bytes(traffic.down)}/s out`}
      />
    </dl>
  );
}

function Tile({
  name,
  value,
  note,
  kind = '',
}: {
  name: string;
  value: string;
  note: string;
  kind?: string;
}) {
  return (
    <div class={`tile ${kind}`}>
      <dt>{name}</dt>
      <dd>
        <strong>{value}</strong>
        <span>{note}</span>
      </dd>
    </div>
  );
}

/** A link to the page of a policy, by the name that flows give it. */
export function PolicyNames({
  names,
  kindOf,
}: {
  readonly names: Readonly<Record<string, number>>;
  readonly kindOf: (name: string) => { kind: string; namespace: string; name: string } | undefined;
}) {
  const entries = Object.entries(names).filter(([, count]) => count > 0);
  return (
    <ul class="plain">
      {entries.map(([key, count]) => (
        <li key={key}>
          {key === ''
            ? 'no policy'
            : key.split(', ').map((each, n) => {
                const known = kindOf(each);
                return (
                  <span key={each}>
                    {n > 0 ? ', ' : ''}
                    {known === undefined ? (
                      each
                    ) : (
                      <a href={href('policies', known.kind, known.namespace, known.name)}>{each}</a>
                    )}
                  </span>
                );
              })}{' '}
          <span class="count">{short(count)}</span>
        </li>
      ))}
    </ul>
  );
}

export function Identities({ edge }: { readonly edge: GraphEdge }) {
  if (edge.identities.length === 0)
    return <p class="empty">No identities were proved: plaintext, or nothing got through.</p>;
  return (
    <ul class="identities">
      {edge.identities.map(([client, server]) => (
        <li key={client + server}>
          <code title={client}>{identity(client)}</code>
          <span aria-label="to">→</span>
          <code title={server}>{identity(server)}</code>
        </li>
      ))}
    </ul>
  );
}
