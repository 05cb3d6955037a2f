/** The pod source of a node in a Kubernetes cluster, out of its parts. */
import type { Logger } from 'pino';
import { statSync } from 'node:fs';
import type { KubeClient } from '../../lib/kubernetes/client.ts';
import { Reflector } from '../../lib/kubernetes/reflector.ts';
import type { NetnsInode } from '../../lib/linux/netns.ts';
import type { Clock } from '../clock.ts';
import { KubernetesPodSource } from './kubernetes-pod-source.ts';
import { NetnsFinder } from './netns-finder.ts';
import { ProcessTable } from './process-table.ts';

export interface KubernetesParts {
  readonly node: string;
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
}

/** @throws Error where the processes of the node cannot be seen */
export function makeKubernetesSource({ node, client, clock, log }: KubernetesParts): KubernetesPodSource {
  const finder = new NetnsFinder({ table: new ProcessTable(clock), ofNode: netnsOfNode() });
  return new KubernetesPodSource({
    node,
    finder,
    clock,
    makeFeed: (request) => new Reflector({ client, log, ...request }),
  });
}

/** Ours, which is the node's, and that of the node's first process, which shows that its processes can be seen. */
function netnsOfNode(): NetnsInode[] {
  return ['/proc/self/ns/net', '/proc/1/ns/net'].map((path) => statSync(path, { bigint: true }));
}
