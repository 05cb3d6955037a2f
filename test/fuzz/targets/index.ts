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
