import type { Share } from './requests.ts';

/** How a rule of a route splits its requests between Services. */
export interface SplitView {
  /** `HTTPRoute/namespace/name#rule` */
  readonly route: string;
  readonly backend: string;
  /** 0 to 1, as the route says; undefined for what no accepted route says (any more). */
  readonly configured: number | undefined;
  /** 0 to 1, of the requests that were counted; undefined before the first. */
  readonly measured: number | undefined;
  readonly count: number;
  readonly hidden: number;
  readonly errors: number;
}

/** The share of each backend in each rule that has several: by route and backend. */
export type ConfiguredShares = ReadonlyMap<string, ReadonlyMap<string, number>>;

interface Named {
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly spec?: { readonly rules?: readonly Rule[] };
}
interface Rule {
  readonly backendRefs?: readonly { readonly name?: string; readonly weight?: number }[];
}

/**
 * Reads the weights of the routes that the controller accepted, so that they are as the controller found them right.
 *
 * @param routes HTTPRoutes as Kubernetes writes them
 */
export function configuredShares(routes: readonly unknown[]): ConfiguredShares {
  const all = new Map<string, ReadonlyMap<string, number>>();
  for (const route of routes as readonly Named[]) {
    const { name = '', namespace = 'default' } = route.metadata ?? {};
    (route.spec?.rules ?? []).forEach(({ backendRefs = [] }, i) => {
      // Without a weight it is 1 (Gateway API).
      const weights = backendRefs.map((ref) => [ref.name ?? '', ref.weight ?? 1] as const);
      const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
      if (weights.length < 2 || total === 0) return;
      const shares = new Map<string, number>();
      for (const [backend, weight] of weights)
        shares.set(backend, (shares.get(backend) ?? 0) + weight / total);
      all.set(`HTTPRoute/${namespace}/${name}#${i}`, shares);
    });
  }
  return all;
}

/** The routes that were known before and split otherwise now. */
export function changedRoutes(before: ConfiguredShares, now: ConfiguredShares): string[] {
  const text = (shares: ReadonlyMap<string, number> | undefined): string =>
    JSON.stringify([...(shares ?? [])]);
  return [...before.keys()].filter((route) => text(before.get(route)) !== text(now.get(route)));
}

/** Joins what is configured with what was counted. */
export function splits(configured: ConfiguredShares, shares: readonly Share[]): SplitView[] {
  return [...configured].flatMap(([route, backends]) => {
    const counted = shares.filter((share) => share.route === route);
    const total = counted.reduce((sum, { count }) => sum + count, 0);
    const names = [...new Set([...backends.keys(), ...counted.map(({ backend }) => backend)])];
    return names.map((backend): SplitView => {
      const found = counted.find((share) => share.backend === backend);
      const { count = 0, hidden = 0, errors = 0 } = found ?? {};
      return {
        ...{ route, backend, configured: backends.get(backend), count, hidden, errors },
        measured: total === 0 ? undefined : count / total,
      };
    });
  });
}

/** Beyond so many standard deviations a count is not chance any more: one of 15,000 right ones is. */
const DEVIATIONS = 4;

/**
 * Whether a count is what chance may make of a share.
 *
 * @param share 0 to 1
 */
export function plausible(count: number, total: number, share: number): boolean {
  const deviation = Math.sqrt(total * share * (1 - share));
  return Math.abs(count - total * share) <= DEVIATIONS * deviation + 1;
}
