import type { KubeClient } from '../../../lib/kubernetes/client.ts';

/** What the API server says of a token (authentication.k8s.io/v1 TokenReview). */
export type Review =
  | { readonly authenticated: false; readonly error: string }
  | { readonly authenticated: true; readonly account: AccountOfPod };

/** A service account as a token proves it, with the pod that the token was made for. */
export interface AccountOfPod {
  readonly username: string;
  /** Absent where the token is bound to no pod. */
  readonly pod?: { readonly name: string; readonly uid: string };
  /** The node that the pod ran on when its token was made. */
  readonly node?: string;
}

/** KEP-4193; KEP-2799 for the pod's. */
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const NODE_NAME = 'authentication.kubernetes.io/node-name';
const PATH = '/apis/authentication.k8s.io/v1/tokenreviews';
const MAX_ERROR_CHARS = 300;

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly error?: string;
    readonly audiences?: readonly string[];
    readonly user?: {
      readonly username?: string;
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

/**
 * Asks the API server whose a token is, and whether it is for us.
 *
 * @throws KubeApiError when it does not answer
 */
export async function reviewToken(
  client: Pick<KubeClient, 'create'>,
  token: string,
  audience: string,
): Promise<Review> {
  const { status = {} } = await client.create<TokenReview>(PATH, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [audience] },
  });
  const username = status.user?.username;
  if (status.authenticated !== true || username === undefined)
    return { authenticated: false, error: (status.error ?? 'not authenticated').slice(0, MAX_ERROR_CHARS) };
  // A server that knows no audiences names none, and has not looked.
  if (status.audiences?.includes(audience) !== true)
    return { authenticated: false, error: `not for audience ${audience}` };
  const extra = (key: string): string | undefined => status.user?.extra?.[key]?.[0];
  const [name, uid, node] = [extra(POD_NAME), extra(POD_UID), extra(NODE_NAME)];
  return {
    authenticated: true,
    account: {
      username,
      ...(name !== undefined && uid !== undefined && { pod: { name, uid } }),
      ...(node !== undefined && { node }),
    },
  };
}
