import { computed, effect, signal } from '@preact/signals';
import { ApiError, getJson } from './api.ts';
import type { Catalog, DashboardState } from './types.ts';

export const WINDOWS = [10_000, 60_000, 300_000, 600_000] as const;
const CATALOG_INTERVAL_MS = 4_000;

/** The time that is shown, and its end; undefined: now. */
export const windowMs = signal<number>(60_000);
export const until = signal<number | undefined>(undefined);
export const live = computed(() => until.value === undefined);

export const state = signal<DashboardState | undefined>(undefined);
export const catalog = signal<Catalog | undefined>(undefined);
/** Whether there is a Prometheus to ask for more than the last minutes. */
export const hasHistory = signal(false);
/** Why there is nothing new; undefined: all is well. */
export const trouble = signal<{ readonly status: number; readonly text: string } | undefined>(undefined);
/** Namespaces that are not shown. */
export const hidden = signal<ReadonlySet<string>>(new Set());
/** What of the graph is looked at. */
export type Selection =
  | { readonly kind: 'node'; readonly id: string }
  | { readonly kind: 'edge'; readonly from: string; readonly to: string };
export const selection = signal<Selection | undefined>(undefined);

/** `#/service/shop/payments` */
export const route = signal<readonly string[]>([]);

export function go(...parts: readonly string[]): void {
  location.hash = `#/${parts.map(encodeURIComponent).join('/')}`;
}

export function href(...parts: readonly string[]): string {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

function readRoute(): void {
  route.value = location.hash
    .replace(/^#\/?/, '')
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent);
}

export type Theme = 'system' | 'light' | 'dark';
export const theme = signal<Theme>((localStorage.getItem('loam-theme') as Theme | null) ?? 'system');

/** Begins to ask, and never ends. */
export function start(): void {
  readRoute();
  addEventListener('hashchange', readRoute);
  effect(() => {
    document.documentElement.dataset['theme'] = theme.value;
    localStorage.setItem('loam-theme', theme.value);
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asked = new AbortController();
  const again = async (): Promise<void> => {
    clearTimeout(timer);
    asked.abort();
    const mine = (asked = new AbortController());
    try {
      const next = await getJson<DashboardState>(
        'state',
        { window: windowMs.value, until: until.value },
        mine.signal,
      );
      state.value = next;
      trouble.value = undefined;
    } catch (error) {
      if (mine.signal.aborted) return;
      trouble.value =
        error instanceof ApiError
          ? { status: error.status, text: error.message }
          : { status: 0, text: 'the dashboard’s server does not answer: it ended, or the machine sleeps' };
    }
    // A long time is summed up at length: it is asked for more seldom.
    const every = document.hidden ? 5_000 : windowMs.value > 60_000 ? 3_000 : 1_000;
    if (until.value === undefined || trouble.value !== undefined)
      timer = setTimeout(() => void again(), every);
  };
  effect(() => {
    void windowMs.value;
    void until.value;
    void again();
  });
  const askCatalog = async (): Promise<void> => {
    const next = await getJson<Catalog>('catalog').catch(() => undefined);
    if (next !== undefined) catalog.value = next;
    setTimeout(() => void askCatalog(), CATALOG_INTERVAL_MS);
  };
  void askCatalog();
  void getJson<{ history: boolean }>('features').then(
    ({ history }) => (hasHistory.value = history),
    () => undefined,
  );
}
