/** What the agent needs of lib/kubernetes' Reflector, narrow, so that it can be tested without an API server. */
import type { KubeResource } from '../../lib/kubernetes/resource.ts';

/** The objects of one collection, kept as the API has them. */
export interface Feed<T extends KubeResource> {
  /** By `namespace/name`, or `name`. */
  readonly objects: ReadonlyMap<string, T>;
  readonly synced: boolean;
  /** Why `objects` may be old. */
  readonly problem: string | undefined;
  start(): void;
  close(): unknown;
}

export interface FeedRequest<T extends KubeResource> {
  readonly path: string;
  readonly query?: { readonly fieldSelector?: string };
  readonly pick: (object: KubeResource) => T;
  readonly onChange: () => void;
  readonly onSync: () => void;
  readonly onProblem: () => void;
}

/** Makes a feed; `start` begins to follow the API. */
export type MakeFeed = <T extends KubeResource>(request: FeedRequest<T>) => Feed<T>;
