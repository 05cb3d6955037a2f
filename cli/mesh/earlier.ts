/** Connections from before their pod came into the mesh, of which the agent knows alone: they go on in plaintext. */

/** As an agent tells them of a pod. */
export interface Earlier {
  readonly count: number;
  /** When they are cut (RFC 3339); absent: never. */
  readonly cutAt?: string;
}

/** Whether an agent counts any of a pod. */
export function hasEarlier<T extends { readonly earlier?: Earlier }>(
  pod: T,
): pod is T & { readonly earlier: Earlier } {
  return pod.earlier !== undefined && pod.earlier.count > 0;
}

/** How to be rid of them: what comes to be in the mesh speaks by mTLS. */
export const EARLIER_MEND = 'kubectl rollout restart of the workload ends them at once';

/** `1 connection from before it came into the mesh goes on in plaintext; it is cut at …` */
export function earlierText({ count, cutAt }: Earlier): string {
  const one = count === 1;
  const until =
    cutAt === undefined
      ? `${one ? 'is' : 'are'} never cut (loam.dev/enrol-grace: never)`
      : `${one ? 'is' : 'are'} cut at ${cutAt}`;
  return `${count} connection${one ? '' : 's'} from before it came into the mesh ${one ? 'goes' : 'go'} on in plaintext; ${one ? 'it' : 'they'} ${until}`;
}

/** A pod of which an agent told. */
export interface EarlierOfPod extends Earlier {
  readonly namespace: string;
  readonly name: string;
}

const MAX_PODS = 10;

/** A line for each pod that has such connections; none where no pod has. */
export function earlierLines(pods: readonly EarlierOfPod[]): string[] {
  const shown = pods.slice(0, MAX_PODS);
  return [
    ...shown.map((pod) => `pod ${pod.namespace}/${pod.name}: ${earlierText(pod)}`),
    ...(shown.length < pods.length ? [`and of ${pods.length - shown.length} more pods: -o json`] : []),
  ];
}
