import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { hasStatus } from '../../../lib/kubernetes/errors.ts';
import { GATEWAY_NAME_LABEL } from '../../model/gateway-api.ts';
import { AuthenticationUnavailable } from '../../auth/authenticator.ts';
import type { Principal } from '../../auth/principal.ts';
import type { AccountOfPod } from './token-review.ts';

/** Why an account that the API server vouches for is nobody to the mesh. */
export type Foreign = 'not-pod-bound' | 'no-node' | 'foreign-account' | 'foreign-pod';

export interface PrincipalsOptions {
  readonly client: Pick<KubeClient, 'get'>;
  readonly namespace: string;
  readonly ztunnelAccount: string;
  /** Whether a Gateway (`<namespace>/<name>`) is a waypoint of ours; undefined while that is not known yet. */
  readonly isWaypoint: (gateway: string) => boolean | undefined;
}

interface PodView {
  readonly metadata?: { readonly uid?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: { readonly serviceAccountName?: string };
}

const ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/**
 * Who an account is in the mesh: the ztunnels' is the node that its pod runs on, the one with a Gateway's name is that
 * Gateway's, all others are nobody. A token that is bound to no pod proves nothing: it would outlive the pod.
 *
 * @throws AuthenticationUnavailable, KubeApiError when it cannot be told now
 */
export async function principalOf(
  { username, pod, node }: AccountOfPod,
  { client, namespace, ztunnelAccount, isWaypoint }: PrincipalsOptions,
): Promise<Principal | Foreign> {
  const [, accountNamespace = '', name = ''] = ACCOUNT.exec(username) ?? [];
  if (name === '') return 'foreign-account';
  if (pod === undefined) return 'not-pod-bound';
  if (accountNamespace === namespace && name === ztunnelAccount)
    return node === undefined || node === '' ? 'no-node' : { kind: 'node', node };
  const gateway = `${accountNamespace}/${name}`;
  const known = isWaypoint(gateway);
  if (known === undefined)
    throw new AuthenticationUnavailable('it is not known yet which Gateways there are');
  if (!known) return 'foreign-account';
  const found = await client
    .get<PodView>(`/api/v1/namespaces/${accountNamespace}/pods/${pod.name}`)
    .catch((error: unknown) => {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    });
  // The account alone may be given to any pod of its namespace, by mistake.
  const isOwn =
    found?.metadata?.uid === pod.uid &&
    found.metadata.labels?.[GATEWAY_NAME_LABEL] === name &&
    found.spec?.serviceAccountName === name;
  return isOwn ? { kind: 'gateway', gateway } : 'foreign-pod';
}
