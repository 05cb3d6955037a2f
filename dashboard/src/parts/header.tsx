import { duration } from '../format.ts';
import { catalog, href, route, state, theme, trouble, WINDOWS, windowMs, type Theme } from '../state.ts';

const PAGES = [
  ['', 'Graph'],
  ['services', 'Services'],
  ['workloads', 'Workloads'],
  ['policies', 'Policies'],
  ['routes', 'Routes'],
  ['tap', 'Tap'],
] as const;

const NEXT: Readonly<Record<Theme, Theme>> = { system: 'light', light: 'dark', dark: 'system' };

export function Header() {
  const [page = ''] = route.value;
  return (
    <header>
      <a class="brand" href={href()} aria-label="Loam: the graph">
        <img src="/icon.svg" alt="" width="26" height="26" />
        <span>Loam</span>
        {catalog.value === undefined ? null : <small>{catalog.value.mesh}</small>}
      </a>
      <nav aria-label="Pages">
        {PAGES.map(([name, title]) => (
          <a
            key={name}
            href={name === '' ? href() : href(name)}
            aria-current={page === name ? 'page' : undefined}
          >
            {title}
          </a>
        ))}
      </nav>
      <div class="controls">
        <Pulse />
        <label class="select">
          <span class="hidden">Time that is shown</span>
          <select
            value={windowMs.value}
            onChange={(event) => (windowMs.value = Number(event.currentTarget.value))}
          >
            {WINDOWS.map((each) => (
              <option key={each} value={each}>
                {duration(each)}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          class="quiet"
          aria-label={`Colours: ${theme.value}. Change to ${NEXT[theme.value]}`}
          onClick={() => (theme.value = NEXT[theme.value])}
        >
          {{ system: '◐', light: '☀', dark: '☾' }[theme.value]}
        </button>
      </div>
    </header>
  );
}

/** Whether all producers are heard. */
function Pulse() {
  const { producers = [], problems = [] } = state.value ?? {};
  const silent = producers.filter(({ connected }) => !connected);
  const lost = producers.reduce((sum, { lostWindows }) => sum + lostWindows, 0);
  const [kind, text] =
    trouble.value !== undefined
      ? ['bad', 'no connection']
      : silent.length > 0
        ? ['warn', `${silent.length} of ${producers.length} silent`]
        : problems.length > 0
          ? ['warn', `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`]
          : ['good', 'live'];
  const details = [
    ...silent.map(({ name, problem }) => `${name}: ${problem ?? 'not heard yet'}`),
    ...problems.map(({ what, why }) => `${what}: ${why}`),
    ...(lost > 0 ? [`${lost} windows were lost: this page was too slow for them`] : []),
  ];
  return (
    <details class={`pulse ${kind}`}>
      <summary>{text}</summary>
      <div class="popover">
        <p>
          {producers.length} programs tell: {producers.map(({ name }) => name).join(', ') || 'none yet'}.
        </p>
        {details.length === 0 ? (
          <p>All is well.</p>
        ) : (
          <ul>
            {details.map((each) => (
              <li key={each}>{each}</li>
            ))}
          </ul>
        )}
      </div>
    </details>
  );
}
