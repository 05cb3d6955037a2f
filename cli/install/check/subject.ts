import type { ClusterApi } from '../cluster/api.ts';
import type { Installed } from '../state.ts';

/** What a check needs of the API server. */
export type CheckApi = Pick<ClusterApi, 'get' | 'find' | 'list' | 'create'>;

/** What a program in a pod answers on its own machine; undefined when it cannot be asked. */
export interface PodAsker {
  /** @returns the text that the command wrote. @throws Error with what it said when it failed */
  run(namespace: string, pod: string, container: string, command: readonly string[]): Promise<string>;
}

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
