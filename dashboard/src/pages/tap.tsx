import { useEffect, useRef, useState } from 'preact/hooks';
import { getLines } from '../api.ts';
import { bytes, clock, identity, ms } from '../format.ts';
import { Badge, Lock } from '../parts/bits.tsx';
import { go, route } from '../state.ts';
import type { FlowEvent, Party } from '../types.ts';
import { PageHead } from './page-head.tsx';

const KEPT = 300;
const SHOW_EVERY_MS = 250;
const FIELDS = [
  ['from', 'From', 'shop/frontend'],
  ['to', 'To', 'shop/payments'],
  ['method', 'Method', 'GET'],
  ['path', 'Path', '/api'],
  ['status', 'Status', '5xx'],
  ['policy', 'Policy', 'shop/auth'],
  ['text', 'Text', 'anything'],
] as const;

interface Row {
  readonly n: number;
  readonly event: FlowEvent;
}

let counted = 0;

/** What happens, as it happens. Its filter stands in the address. */
export function TapPage() {
  const query = route.value[1] ?? '';
  const filter = Object.fromEntries(new URLSearchParams(query));
  const [rows, setRows] = useState<readonly Row[]>([]);
  const [lost, setLost] = useState(0);
  const [paused, setPaused] = useState(false);
  const [open, setOpen] = useState<number | undefined>(undefined);
  const [problem, setProblem] = useState<string | undefined>(undefined);
  const waiting = useRef<Row[]>([]);
  const stopped = useRef(false);
  stopped.current = paused;

  useEffect(() => {
    setRows([]);
    setProblem(undefined);
    const asked = new AbortController();
    waiting.current = [];
    getLines('tap', filter, asked.signal, (values) => {
      for (const value of values as (FlowEvent | { kind: 'lost'; events: number })[]) {
        if (value.kind === 'lost') setLost((before) => before + value.events);
        else waiting.current.push({ n: (counted += 1), event: value });
      }
      if (waiting.current.length > KEPT) waiting.current = waiting.current.slice(-KEPT);
    }).catch((error: unknown) => {
      if (!asked.signal.aborted) setProblem(error instanceof Error ? error.message : String(error));
    });
    const timer = setInterval(() => {
      if (stopped.current || waiting.current.length === 0) return;
      const news = waiting.current.reverse();
      waiting.current = [];
      setRows((before) => [...news, ...before].slice(0, KEPT));
    }, SHOW_EVERY_MS);
    return () => {
      asked.abort();
      clearInterval(timer);
    };
  }, [query]);

  const set = (name: string, value: string): void => {
    const next = new URLSearchParams({ ...filter, [name]: value });
    for (const [key, each] of [...next]) if (each === '') next.delete(key);
    if (next.size === 0) go('tap');
    else go('tap', next.toString());
  };

  return (
    <div class="page">
      <PageHead title="Tap" note="Connections and requests as they happen, newest first.">
        <button type="button" class="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? 'Go on' : 'Pause'}
        </button>
      </PageHead>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        {FIELDS.map(([name, title, hint]) => (
          <label key={name}>
            <span>{title}</span>
            <input
              value={filter[name] ?? ''}
              placeholder={hint}
              onChange={(event) => set(name, event.currentTarget.value.trim())}
            />
          </label>
        ))}
        <label>
          <span>Verdict</span>
          <select
            value={filter['verdict'] ?? ''}
            onChange={(event) => set('verdict', event.currentTarget.value)}
          >
            <option value="">all</option>
            <option value="notable">denied or failed</option>
            <option value="denied">denied</option>
            <option value="allowed">allowed</option>
          </select>
        </label>
      </form>
      {problem === undefined ? null : <p class="trouble">{problem}</p>}
      {lost === 0 ? null : <p class="note">{lost} were left out: more came than this page can show.</p>}
      <div class="table" tabIndex={0} role="region" aria-label="Events">
        <table class="tap">
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">What</th>
              <th scope="col">From</th>
              <th scope="col">To</th>
              <th scope="col" class="number">
                Duration
              </th>
              <th scope="col" class="minor">
                Bytes
              </th>
              <th scope="col">Verdict</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ n, event }) => (
              <EventRow
                key={n}
                event={event}
                open={open === n}
                onOpen={() => setOpen(open === n ? undefined : n)}
              />
            ))}
          </tbody>
        </table>
        {rows.length === 0 ? <p class="empty">Waiting for the next one …</p> : null}
      </div>
    </div>
  );
}

function partyName({ namespace, workload, ip, port }: Party): string {
  return workload === undefined
    ? `${ip ?? 'unknown'}${port === undefined ? '' : `:${port}`}`
    : `${namespace ?? ''}/${workload}`;
}

function EventRow({ event, open, onOpen }: { event: FlowEvent; open: boolean; onOpen: () => void }) {
  const isDenied = !event.verdict.allowed;
  const flags =
    event.kind === 'request'
      ? (event.flags ?? []).join(', ')
      : event.kind === 'ended'
        ? event.flag
        : undefined;
  return (
    <>
      <tr class={isDenied ? 'denied' : flags !== undefined && flags !== '' ? 'failed' : ''}>
        <td>
          <button type="button" class="link" aria-expanded={open} onClick={onOpen}>
            {clock(event.at)}
          </button>
        </td>
        <td class="what">
          {event.kind === 'request' ? (
            <>
              <Badge
                kind={
                  event.status >= 500 || event.status === 0 ? 'bad' : event.status >= 400 ? 'warn' : 'good'
                }
              >
                {event.status === 0 ? '–' : event.status}
              </Badge>{' '}
              <code>
                {event.method} {event.path}
              </code>
            </>
          ) : (
            <>
              <Badge kind="">TCP</Badge>{' '}
              {event.kind === 'opened' ? 'opened' : event.opened ? 'closed' : 'not opened'}
            </>
          )}
        </td>
        <td title={event.source.identity}>{partyName(event.source)}</td>
        <td title={event.destination.identity}>
          {event.destination.workload === undefined && event.service !== undefined
            ? event.service
            : partyName(event.destination)}{' '}
          <Lock share={event.mtls ? 1 : 0} />
        </td>
        <td class="number">{event.kind === 'opened' ? '–' : ms(event.durationMs)}</td>
        <td class="minor">{event.kind === 'opened' ? '–' : `${bytes(event.up)} / ${bytes(event.down)}`}</td>
        <td>
          <Badge kind={isDenied ? 'bad' : flags !== undefined && flags !== '' ? 'warn' : 'good'}>
            {isDenied ? 'denied' : flags !== undefined && flags !== '' ? flags : 'allowed'}
          </Badge>{' '}
          <small>{event.verdict.policy ?? ''}</small>
        </td>
      </tr>
      {open ? (
        <tr class="details">
          <td colSpan={7}>
            <dl>
              {detailsOf(event).map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
          </td>
        </tr>
      ) : null}
    </>
  );
}

function detailsOf(event: FlowEvent): [string, string][] {
  const all: [string, string | number | undefined][] = [
    ['Told by', event.side === 'waypoint' ? 'a waypoint' : `the ${event.side}'s node`],
    [
      'Client',
      [
        event.source.identity && identity(event.source.identity),
        `${event.source.ip ?? ''}:${event.source.port ?? ''}`,
        event.source.node,
      ]
        .filter(Boolean)
        .join(' · '),
    ],
    [
      'Server',
      [
        event.destination.identity && identity(event.destination.identity),
        `${event.destination.ip ?? ''}:${event.destination.port ?? ''}`,
        event.destination.node,
      ]
        .filter(Boolean)
        .join(' · '),
    ],
    ['Service', event.service],
    ['Backend', event.backend],
    ['Route', event.route],
    ['Through waypoint', event.via],
    ['Reason', event.verdict.reason],
    ['On trial', event.verdict.trial?.map(({ policy, action }) => `${policy} would ${action}`).join(', ')],
    ...(event.kind === 'request'
      ? ([
          ['Host', event.authority],
          ['Protocol', event.protocol],
          ['Tries', event.attempts],
          ['First byte after', event.upstreamMs === undefined ? undefined : ms(event.upstreamMs)],
          ['Request id', event.requestId],
          ['Trace', event.trace],
          ['Error', event.error],
        ] as [string, string | number | undefined][])
      : []),
    ...(event.kind === 'ended' ? ([['Error', event.error]] as [string, string | undefined][]) : []),
  ];
  return all.flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, String(value)]]));
}
