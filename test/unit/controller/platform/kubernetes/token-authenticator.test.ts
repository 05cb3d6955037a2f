import assert from 'node:assert/strict';
import { Metadata } from '@grpc/grpc-js';
import { afterEach, describe, it } from 'mocha';
import { pino } from 'pino';
import { AuthenticationUnavailable } from '../../../../../controller/auth/authenticator.ts';
import type { Principal } from '../../../../../controller/auth/principal.ts';
import { TokenAuthenticator } from '../../../../../controller/platform/kubernetes/token-authenticator.ts';
import { ControllerMetrics } from '../../../../../controller/telemetry/metrics.ts';
import { KubeApiError } from '../../../../../lib/kubernetes/errors.ts';
import { until } from '../../harness.ts';

const AUDIENCE = 'loam';
const HOUR_MS = 3_600_000;
const START_MS = 1_800_000_000_000;
const EXTRA = 'authentication.kubernetes.io/';

interface Account {
  readonly user: string;
  readonly pod?: string;
  readonly node?: string;
}

interface Claims {
  readonly sub: string;
  readonly aud: readonly string[];
  readonly exp: number;
  readonly account: Account;
}

const ZTUNNEL: Account = {
  user: 'system:serviceaccount:loam-system:loam-ztunnel',
  pod: 'ztunnel-x',
  node: 'node-a',
};
const WAYPOINT: Account = { user: 'system:serviceaccount:shop:waypoint', pod: 'waypoint-1', node: 'node-a' };

function tokenOf(account: Account, { aud = [AUDIENCE], expMs = START_MS + HOUR_MS, salt = '' } = {}): string {
  const claims = { sub: account.user, aud, exp: expMs / 1000, account, salt };
  return `head.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`;
}

/** Reviews tokens as an API server does, that the test made with {@link tokenOf} and has not revoked. */
class FakeReviews {
  now = START_MS;
  reviews = 0;
  failure: Error | undefined;
  readonly revoked = new Set<string>();
  readonly pods = new Map<string, object>();
  hold: Promise<void> | undefined;
  running = 0;
  mostRunning = 0;

  async create<T>(path: string, object: unknown): Promise<T> {
    assert.equal(path, '/apis/authentication.k8s.io/v1/tokenreviews');
    const { token, audiences } = (object as { spec: { token: string; audiences: string[] } }).spec;
    this.reviews += 1;
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    await this.hold;
    this.running -= 1;
    if (this.failure !== undefined) throw this.failure;
    const [, payload = '', signature] = token.split('.');
    if (signature !== 'signature' || this.revoked.has(token))
      return { status: { authenticated: false, error: 'invalid bearer token' } } as T;
    const { aud, exp, account } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Claims;
    if (exp * 1000 <= this.now) return { status: { authenticated: false, error: 'expired' } } as T;
    const extra = {
      ...(account.pod !== undefined && {
        [`${EXTRA}pod-name`]: [account.pod],
        [`${EXTRA}pod-uid`]: [`uid-${account.pod}`],
      }),
      ...(account.node !== undefined && { [`${EXTRA}node-name`]: [account.node] }),
    };
    const status = {
      authenticated: true,
      user: { username: account.user, extra },
      audiences: audiences.filter((each) => aud.includes(each)),
    };
    return { status } as T;
  }

  get<T>(path: string): Promise<T> {
    const pod = this.pods.get(path);
    if (pod === undefined)
      return Promise.reject(new KubeApiError('KUBE_STATUS', 'no such pod', { path, status: 404 }));
    return Promise.resolve(pod as T);
  }

  pod(name: string, gateway: string, account = gateway, uid = `uid-${name}`): void {
    this.pods.set(`/api/v1/namespaces/shop/pods/${name}`, {
      metadata: { uid, labels: { 'gateway.networking.k8s.io/gateway-name': gateway } },
      spec: { serviceAccountName: account },
    });
  }
}

describe('platform/kubernetes/token-authenticator', () => {
  const made: TokenAuthenticator[] = [];
  afterEach(() => made.splice(0).forEach((each) => each.close()));

  function setUp({
    gateways = ['shop/waypoint'] as readonly string[] | 'unknown',
    lines = [] as string[],
  } = {}) {
    const api = new FakeReviews();
    const metrics = new ControllerMetrics('test');
    const authenticator = new TokenAuthenticator({
      client: api,
      namespace: 'loam-system',
      ztunnelAccount: 'loam-ztunnel',
      audience: AUDIENCE,
      isWaypoint: (key) => (gateways === 'unknown' ? undefined : gateways.includes(key)),
      metrics,
      log: pino({}, { write: (line: string) => void lines.push(line) }),
      now: () => api.now,
    });
    made.push(authenticator);
    const authenticate = (
      token: string | undefined,
      peer = '10.0.0.1:4711',
    ): Promise<Principal | undefined> => {
      const metadata = new Metadata();
      if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
      return authenticator.authenticate(metadata, peer);
    };
    const counted = async (result: string): Promise<number> => {
      const { values } = await metrics.authentications.get();
      return values.find(({ labels }) => labels.result === result)?.value ?? 0;
    };
    return { api, authenticator, authenticate, counted };
  }

  it("knows a node by its ztunnel's pod, and asks once in five minutes", async () => {
    const { api, authenticate } = setUp();
    const token = tokenOf(ZTUNNEL);
    const all = await Promise.all(Array.from({ length: 50 }, () => authenticate(token)));
    assert.deepEqual(
      new Set(all.map((each) => JSON.stringify(each))),
      new Set(['{"kind":"node","node":"node-a"}']),
    );
    api.now += 299_000;
    await authenticate(token);
    assert.equal(api.reviews, 1);
    api.now += 2_000;
    api.revoked.add(token);
    assert.equal(await authenticate(token), undefined, 'a revoked token does not outlive the five minutes');
    assert.equal(api.reviews, 2);
  });

  it("knows a waypoint by its account and its pod's label, and no pod that lies", async () => {
    const { api, authenticate, counted } = setUp();
    api.pod('waypoint-1', 'waypoint');
    assert.deepEqual(await authenticate(tokenOf(WAYPOINT)), { kind: 'gateway', gateway: 'shop/waypoint' });
    const lies: [string, Account, () => void][] = [
      ['a pod of another label', { ...WAYPOINT, pod: 'b' }, () => api.pod('b', 'other', 'waypoint')],
      ['a pod of another account', { ...WAYPOINT, pod: 'c' }, () => api.pod('c', 'waypoint', 'default')],
      [
        'a pod that was replaced',
        { ...WAYPOINT, pod: 'd' },
        () => api.pod('d', 'waypoint', 'waypoint', 'new'),
      ],
      ['a pod that is gone', { ...WAYPOINT, pod: 'e' }, () => undefined],
    ];
    for (const [what, account, lie] of lies) {
      lie();
      assert.equal(await authenticate(tokenOf(account)), undefined, what);
    }
    assert.equal(await counted('foreign-pod'), lies.length);
  });

  const refusals: [string, string, string | undefined][] = [
    ['no token', 'no-token', undefined],
    ['what is no token', 'malformed', 'x'.repeat(40)],
    ['a token of another audience', 'wrong-audience', tokenOf(ZTUNNEL, { aud: ['https://kubernetes'] })],
    ['an expired one', 'expired', tokenOf(ZTUNNEL, { expMs: START_MS - 1000 })],
    ['one with a wrong signature', 'not-authenticated', `${tokenOf(ZTUNNEL)}x`],
    ['one of no pod', 'not-pod-bound', tokenOf({ user: ZTUNNEL.user, node: 'node-a' })],
    ['one without a node', 'no-node', tokenOf({ user: ZTUNNEL.user, pod: 'x' })],
    ["another account's", 'foreign-account', tokenOf({ ...ZTUNNEL, user: 'system:serviceaccount:shop:web' })],
    [
      'a namesake of the ztunnels',
      'foreign-account',
      tokenOf({ ...ZTUNNEL, user: 'system:serviceaccount:shop:loam-ztunnel' }),
    ],
    ["a user's", 'foreign-account', tokenOf({ ...ZTUNNEL, user: 'admin' })],
  ];
  for (const [what, reason, token] of refusals) {
    it(`refuses ${what}, counts it and logs why, and never the token`, async () => {
      const lines: string[] = [];
      const { authenticate, counted } = setUp({ lines });
      assert.equal(await authenticate(token), undefined);
      assert.equal(await counted(reason), 1);
      assert.match(lines.join(''), new RegExp(`"peer":"10.0.0.1:4711","reason":"${reason}"`));
      assert(token === undefined || !lines.join('').includes(token.slice(0, 60)));
    });
  }

  it('does not ask again at once for a token that proved nobody', async () => {
    const { api, authenticate } = setUp();
    const token = `${tokenOf(ZTUNNEL)}x`;
    for (let i = 0; i < 20; i += 1) await authenticate(token);
    assert.equal(api.reviews, 1);
    api.now += 6_000;
    await authenticate(token);
    assert.equal(api.reviews, 2);
  });

  it('goes on with known tokens for an hour while the API server is away, and tells new ones to come again', async () => {
    const { api, authenticate } = setUp();
    const token = tokenOf(ZTUNNEL, { expMs: START_MS + 3 * HOUR_MS });
    await authenticate(token);
    api.failure = new KubeApiError('KUBE_CONNECT', 'no route', { path: '' });
    api.now += HOUR_MS - 1_000;
    assert.deepEqual(await authenticate(token), { kind: 'node', node: 'node-a' });
    await assert.rejects(
      authenticate(tokenOf(ZTUNNEL, { salt: 'new', expMs: api.now + HOUR_MS })),
      AuthenticationUnavailable,
    );
    api.now += 2_000;
    await assert.rejects(authenticate(token), AuthenticationUnavailable);
    api.failure = undefined;
    assert.deepEqual(await authenticate(token), { kind: 'node', node: 'node-a' });
  });

  it('counts no token beyond its end, and ends nobody for it while the API server is away', async () => {
    const { api, authenticate } = setUp();
    const token = tokenOf(ZTUNNEL, { expMs: START_MS + 60_000 });
    await authenticate(token);
    api.now += 61_000;
    api.failure = new KubeApiError('KUBE_TIMEOUT', 'no answer', { path: '' });
    await assert.rejects(authenticate(token), AuthenticationUnavailable);
    api.failure = undefined;
    assert.equal(await authenticate(token), undefined);
  });

  it('waits for the Gateways to be known before it judges who is one', async () => {
    const { authenticate } = setUp({ gateways: 'unknown' });
    await assert.rejects(authenticate(tokenOf(WAYPOINT)), AuthenticationUnavailable);
    assert.deepEqual(await authenticate(tokenOf(ZTUNNEL)), { kind: 'node', node: 'node-a' });
  });

  it('bounds what made-up tokens cost: reviews at once, for one address, and in all', async () => {
    const { api, authenticate } = setUp();
    const real = tokenOf(ZTUNNEL);
    await authenticate(real, '10.0.0.9:1');
    const held = Promise.withResolvers<void>();
    api.hold = held.promise;
    const flood = Array.from({ length: 2_000 }, (_, i) =>
      authenticate(`${tokenOf(ZTUNNEL, { salt: String(i) })}x`, `10.0.${i % 100}.1:${i}`).then(
        () => 'judged',
        (error: unknown) => (error instanceof AuthenticationUnavailable ? 'unavailable' : 'error'),
      ),
    );
    await until(() => api.running > 0);
    const ofOne = Array.from({ length: 20 }, (_, i) =>
      authenticate(`${tokenOf(ZTUNNEL, { salt: `one${i}` })}x`, `10.9.9.9:${i}`).then(
        () => 'judged',
        () => 'unavailable',
      ),
    );
    assert.deepEqual(
      await authenticate(real),
      { kind: 'node', node: 'node-a' },
      'who is known is not held up',
    );
    held.resolve();
    const outcomes = await Promise.all([...flood, ...ofOne]);
    const judged = outcomes.filter((each) => each === 'judged').length;
    assert(judged > 0 && judged <= 16 + 256, String(judged));
    assert(outcomes.every((each) => each !== 'error'));
    assert(api.mostRunning <= 16, String(api.mostRunning));
    // Afterwards all is as before.
    api.hold = undefined;
    assert.deepEqual(await authenticate(tokenOf(ZTUNNEL, { salt: 'later' })), {
      kind: 'node',
      node: 'node-a',
    });
  });

  it('says by its gate whether tokens can be reviewed at all', async () => {
    const { api, authenticator } = setUp();
    api.failure = new KubeApiError('KUBE_STATUS', 'forbidden', { path: '', status: 403 });
    await authenticator.start();
    await until(() => /does not let the controller review tokens/.test(authenticator.gate().reason));
    api.failure = undefined;
    await until(() => authenticator.gate().ready);
  });
});
