import type { ClusterApi } from '../cluster/api.ts';
import type { PodAsker } from '../cluster/pod-reasons.ts';
import type { Installed } from '../state.ts';

/** What a check needs of the API server. */
export type CheckApi = Pick<ClusterApi, 'get' | 'find' | 'list' | 'create' | 'answer'>;

export interface CheckSubject {
  readonly api: CheckApi;
  readonly pods: PodAsker;
  readonly namespace: string;
  /** Undefined: nothing is installed yet. */
  readonly installed: Installed | undefined;
  /** Why it is not known whether something is installed. */
  readonly unknown?: string | undefined;
  readonly now: () => number;
}
