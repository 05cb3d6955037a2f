/** What the controller asks an API server beside lists and watches: objects by name, and whose tokens are. */
import type { FakeAnswer } from '../../test/support/fake-kube-api.ts';

export const AUDIENCE = 'loam';
const ACCOUNT = 'system:serviceaccount:loam-system:loam-ztunnel';
const YEAR_S = 365 * 24 * 3600;
const SECRETS = /^\/api\/v1\/namespaces\/[^/]+\/secrets/;

interface Named {
  readonly metadata: { readonly name: string };
}

/** A token as a node's kubelet would project it. Its signature proves nothing: this API server believes each. */
export function nodeToken(node: string): string {
  const exp = Math.floor(Date.now() / 1000) + YEAR_S;
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return [part({ alg: 'none' }), part({ sub: ACCOUNT, aud: [AUDIENCE], exp, node }), 'signature'].join('.');
}

/** Keeps what is written, and reviews tokens. */
export class StandIn {
  readonly #objects = new Map<string, Named>();

  answer(method: string, path: string, body: unknown): FakeAnswer | undefined {
    if (path.endsWith('/tokenreviews')) return { status: 201, body: review(body) };
    if (method === 'POST') {
      const object = { ...(body as Named), metadata: { ...(body as Named).metadata, resourceVersion: '1' } };
      this.#objects.set(`${path}/${object.metadata.name}`, object);
      return { status: 201, body: object };
    }
    if (method === 'PUT' || method === 'PATCH') {
      this.#objects.set(path, body as Named);
      return { status: 200, body };
    }
    if (SECRETS.test(path) && path.endsWith('/secrets'))
      return { status: 200, body: { kind: 'List', metadata: { resourceVersion: '1' }, items: [] } };
    const found = this.#objects.get(path);
    return found === undefined ? undefined : { status: 200, body: found };
  }

  /** A value of a Secret that was made. */
  secret(name: string, field: string): string | undefined {
    const found = [...this.#objects].find(([path]) => SECRETS.test(path) && path.endsWith(`/${name}`));
    const data = (found?.[1] as { data?: Record<string, string> } | undefined)?.data;
    return data?.[field] === undefined ? undefined : Buffer.from(data[field], 'base64').toString();
  }
}

function review(body: unknown): object {
  const { token } = (body as { spec: { token: string } }).spec;
  const [, claims] = token.split('.');
  if (claims === undefined) return { status: { authenticated: false } };
  const { node } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { node: string };
  return {
    status: {
      authenticated: true,
      audiences: [AUDIENCE],
      user: {
        username: ACCOUNT,
        extra: {
          'authentication.kubernetes.io/pod-name': [`ztunnel-${node}`],
          'authentication.kubernetes.io/pod-uid': [`uid-${node}`],
          'authentication.kubernetes.io/node-name': [node],
        },
      },
    },
  };
}
