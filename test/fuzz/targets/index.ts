import type { FuzzTarget } from '../engine/target.ts';

/** Every target by its name, loaded only when it is asked for: coverage is counted in what is loaded after it began. */
export const TARGETS = {
  'hbone-request': () => import('./hbone-request.ts'),
  'first-bytes': () => import('./first-bytes.ts'),
  'request-headers': () => import('./request-headers.ts'),
  path: () => import('./path.ts'),
  jwt: () => import('./jwt.ts'),
  'zds-agent': () => import('./zds-agent.ts'),
  'zds-ztunnel': () => import('./zds-ztunnel.ts'),
  'xds-address': () => import('./xds-address.ts'),
  'xds-authorization': () => import('./xds-authorization.ts'),
  'xds-waypoint': () => import('./xds-waypoint.ts'),
  'xds-client-request': () => import('./xds-client-request.ts'),
  csr: () => import('./csr.ts'),
  policy: () => import('./policy.ts'),
  manifest: () => import('./manifest.ts'),
} satisfies Record<string, () => Promise<{ target: FuzzTarget }>>;

export type TargetName = keyof typeof TARGETS;

export const TARGET_NAMES = Object.keys(TARGETS) as TargetName[];

/**
 * Executions of the everyday run: about three seconds' worth of each target on an idle core. A count, and not a time, so that
 * with its fixed seed the run is the same on every machine, and what fails in CI fails at home.
 */
export const EVERYDAY: Readonly<Record<TargetName, number>> = {
  'hbone-request': 400_000,
  'first-bytes': 200_000,
  'request-headers': 150_000,
  path: 80_000,
  jwt: 40_000,
  'zds-agent': 40_000,
  'zds-ztunnel': 15_000,
  'xds-address': 40_000,
  'xds-authorization': 30_000,
  'xds-waypoint': 30_000,
  'xds-client-request': 6_000,
  csr: 15_000,
  policy: 2_500,
  manifest: 4_000,
};
