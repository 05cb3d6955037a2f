import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Preview } from '../../../cli/policy/preview.ts';
import type { Driver } from '../../mesh/driver.ts';
import { deployment, namespace, service } from '../support/apps.ts';
import { TestCluster } from '../support/cluster.ts';
import { AMBIENT, installed } from '../support/installation.ts';
import { lookAt, viewer, viewerKubeconfig } from '../support/look.ts';
import type { KubeObject } from '../support/resources.ts';
import { gateway, programmed, wayClient, wayDriver, wayServer, wayService } from '../support/way.ts';

const SECONDS = '5';

describe('policies before they count, in a cluster', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const look = lookAt(cluster);
  const ns = 'tried';
  const folder = mkdtempSync(join(tmpdir(), 'loam-tried-'));
  const policy = (name: string, spec: object): KubeObject => ({
    ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy' },
    ...{ metadata: { name, namespace: ns }, spec },
  });
  const noGreeting = policy('no-greeting', {
    selector: { matchLabels: { app: 'server' } },
    action: 'DENY',
    rules: [{ to: [{ operation: { ports: ['7000'] } }] }],
  });
  const noStatus = policy('no-status', {
    targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
    action: 'DENY',
    rules: [{ to: [{ operation: { paths: ['/status'] } }] }],
  });
  const objects = [
    namespace(ns, AMBIENT),
    ...viewer(ns),
    gateway(ns, 'waypoint'),
    wayServer(ns, 'v1', 'web'),
    wayService(ns, 'web', { run: 'web' }, 'waypoint'),
    deployment(ns, 'server', { node: 'node2' }),
    service(ns, 'server'),
    wayClient(ns, 'client'),
    noGreeting,
  ];
  let client: Driver;
  let calling = Promise.resolve();
  const over = new AbortController();

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    for (const app of ['v1', 'server']) await cluster.readyPods(ns, `app=${app}`);
    await programmed(cluster, ns, 'waypoint');
    client = await wayDriver(cluster, ns, 'client');
    await cluster.until('requests pass the waypoint', async () =>
      /200 v1/.test(
        JSON.stringify(await client.burst({ host: `web.${ns}`, port: 80, path: '/status', n: 1 })),
      ),
    );
    calling = (async () => {
      while (!over.signal.aborted) {
        await client.burst({ host: `web.${ns}`, port: 80, path: '/status', n: 2 });
        await client.burst({ host: `web.${ns}`, port: 80, path: '/via', n: 2 });
        await client.burst({ host: `server.${ns}`, port: 80, path: '/', n: 2 });
      }
    })();
  });
  after(async () => {
    over.abort();
    await calling;
    client?.stop();
    await cluster.remove(...objects);
    rmSync(folder, { recursive: true, force: true });
  });

  function fileOf(name: string, ...of: readonly object[]): string {
    const file = join(folder, `${name}.yaml`);
    writeFileSync(file, of.map((each) => stringify(each)).join('---\n'));
    return file;
  }

  async function previewed(expected: number, ...args: readonly string[]): Promise<Preview> {
    const { code, out, err } = await look(['policy', 'preview', ...args, '--for', SECONDS, '-o', 'json']);
    assert.equal(code, expected, `${out}${err}`);
    return JSON.parse(out) as Preview;
  }

  it('a preview tells what would be cut at a pod, by its rule, and cuts nothing', async () => {
    const no80 = policy('no-http', {
      selector: { matchLabels: { app: 'server' } },
      action: 'DENY',
      rules: [{ to: [{ operation: { ports: ['8080'] } }] }],
    });
    // Without a namespace: that of -n.
    const { metadata, ...rest } = no80;
    const file = fileOf('no-http', { ...rest, metadata: { name: metadata.name } }, deployment(ns, 'other'));
    const { calls, cut, opened } = await previewed(3, file, '-n', ns);
    assert.ok(calls > 0);
    assert.deepEqual(opened, []);
    const mine = cut.filter(({ from }) => from.startsWith(`${ns}/client-`));
    assert.deepEqual(
      [...new Set(mine.map(({ to, after, policy }) => `${to} ${after} ${policy}`))],
      [`Service ${ns}/server port 80 denied ${ns}/no-http`],
      JSON.stringify(cut),
    );
    const { code, err } = await look(['policy', 'preview', file, '-n', ns, '--for', '1']);
    assert.ok([0, 3].includes(code), err);
    assert.match(err, /passed over: Deployment\/tried\/other: a preview leaves it as it is/);
    const { status } = await cluster.client
      .get<{ status: string }>(`/apis/security.istio.io/v1/namespaces/${ns}/authorizationpolicies/no-http`)
      .catch(() => ({ status: 'absent' }));
    assert.equal(status, 'absent');
  });

  it('a preview tells which requests a waypoint would refuse', async () => {
    const { cut } = await previewed(3, fileOf('no-status', noStatus));
    const mine = cut.filter(({ from }) => from.startsWith(`${ns}/client-`));
    assert.deepEqual(
      [...new Set(mine.map(({ to, request, policy }) => `${to} ${request} ${policy}`))],
      [`Service ${ns}/web port 80 GET /status ${ns}/no-status`],
      JSON.stringify(cut),
    );
  });

  it('a preview tells what a policy would let in, and what holds nothing back', async () => {
    const flows = join(folder, 'flows.jsonl');
    const told = look(['tap', '-n', ns, '--verdict', 'denied', '--count', '1', '-o', 'json']);
    let ended = false;
    void told.then(() => (ended = true));
    await cluster.until('a denial was told', async () => {
      await client.burst({ host: `server.${ns}`, port: 7000, path: '/', n: 1 });
      return ended;
    });
    writeFileSync(flows, (await told).out);
    const without = ['--without', `AuthorizationPolicy/${ns}/no-greeting`];
    const { opened, cut } = await previewed(0, ...without, '--flows', flows);
    assert.deepEqual(
      opened.map(({ to, before }) => `${to} ${before}`),
      [`Service ${ns}/server port 7000 denied`],
    );
    assert.deepEqual(cut, []);
    const nothing = policy('nothing', {
      selector: { matchLabels: { app: 'nobody' } },
      action: 'DENY',
      rules: [{}],
    });
    const same = await previewed(0, fileOf('nothing', nothing));
    assert.deepEqual([same.cut, same.opened], [[], []]);
  });

  it('tests hold as the cluster is, and as it would be', async () => {
    const tests = (greeting: string, status: string): string =>
      fileOf(`tests-${greeting}-${status}`, {
        tests: [
          { from: 'client', to: 'server:80', expect: 'allowed' },
          { from: `${ns}/client`, to: `server.${ns}:7000`, expect: greeting },
          { from: 'client', to: 'web:80', request: 'GET /status', expect: status },
          { from: 'client', to: 'web:80', request: 'GET /via', expect: 'allowed' },
        ],
      });
    const tested = async (file: string, ...args: readonly string[]): Promise<number> => {
      const { code, out, err } = await look(['policy', 'test', file, '-n', ns, ...args]);
      assert.ok([0, 3].includes(code), `${out}${err}`);
      return code;
    };
    const withStatus = ['--with', fileOf('with', noStatus)];
    const withoutGreeting = ['--without', `AuthorizationPolicy/${ns}/no-greeting`];
    assert.equal(await tested(tests('denied', 'allowed')), 0);
    assert.equal(await tested(tests('denied', 'denied')), 3);
    assert.equal(await tested(tests('denied', 'denied'), ...withStatus), 0);
    assert.equal(await tested(tests('allowed', 'denied'), ...withStatus, ...withoutGreeting), 0);
    assert.equal(await tested(tests('denied', 'denied'), ...withStatus, ...withoutGreeting), 3);
  });

  it('say what is wrong with a proposal, as the controller would', async () => {
    const wrong = policy('wrong', { action: 'PERHAPS' });
    const { code, err } = await look(['policy', 'preview', fileOf('wrong', wrong), '--for', SECONDS]);
    assert.equal(code, 2, err);
    assert.match(
      err,
      /would be rejected: AuthorizationPolicy tried\/wrong: spec\.action: "PERHAPS" is not allowed; allowed: ALLOW, DENY, AUDIT$/m,
    );
    const none = await look(['policy', 'preview', '--without', `EgressPolicy/${ns}/none`, '--for', SECONDS]);
    assert.equal(none.code, 2);
    assert.match(none.err, /the cluster has no EgressPolicy\/tried\/none/);
  });

  it('that the API server takes and Loam cannot are named by check and status, and what to do', async () => {
    const typo = policy('typo', {
      action: 'ALLOW',
      rules: [{ when: [{ key: 'source.nonsense', values: ['a'] }] }],
    });
    const lost = wayService(ns, 'lost', { run: 'web' }, 'nowhere');
    await cluster.apply(typo, lost);
    try {
      await cluster.until('check names both', async () => {
        const { code, out } = await look(['check']);
        return (
          code === 1 &&
          /✗ AuthorizationPolicy tried\/typo: .*source\.nonsense.*\n {4}→ .*kubectl edit/.test(out) &&
          /✗ Service tried\/lost: .*no waypoint tried\/nowhere.*\n {4}→ .*loam waypoint apply nowhere/.test(
            out,
          )
        );
      });
      const { code, out } = await look(['status']);
      assert.equal(code, 3);
      assert.match(
        out,
        /AuthorizationPolicy tried\/typo: spec\.rules\[0\]\.when\[0\]\.key: unknown attribute/,
      );
      assert.match(out, /Service tried\/lost: .*there is no Gateway "nowhere" in namespace tried/);
    } finally {
      await cluster.remove(typo, lost);
    }
  });

  it('need the right to list what the controller reads, and say so', async () => {
    const kubeconfig = join(folder, 'viewer');
    await viewerKubeconfig(cluster, ns, kubeconfig);
    const file = fileOf('no-status', noStatus);
    const { code, err } = await look(['policy', 'preview', file, '-n', ns, '--for', SECONDS], kubeconfig);
    assert.equal(code, 1, err);
    assert.match(err, /no right to list/);
  });

  describe('and what stands before a Service', () => {
    it('is told by describe service: its waypoint, routes and policies', async () => {
      await cluster.apply(noStatus);
      try {
        await cluster.until('its policy is in force', async () => {
          const { code, out, err } = await look(['describe', 'service', `${ns}/web`]);
          assert.equal(code, 0, `${out}${err}`);
          assert.match(out, /waypoint +tried\/waypoint/);
          assert.match(out, /v1-\S+ +node2 .*HBONE +healthy/);
          return /policies +.*tried\/no-status/.test(out);
        });
      } finally {
        await cluster.remove(noStatus);
      }
    });

    it('is told by status: the waypoint with its node, ready', async () => {
      const waypoints = async (): Promise<string[]> => {
        const { out } = await look(['status', '-o', 'json']);
        const { programs } = JSON.parse(out) as {
          programs: { program: string; namespace: string; node: string; problem?: string }[];
        };
        return programs
          .filter((each) => each.program === 'waypoint' && each.namespace === ns)
          .map(({ node, problem = 'ready' }) => `${/^node\d$/.test(node) ? 'node' : node} ${problem}`);
      };
      await cluster.until('it is ready', async () => (await waypoints()).join() === 'node ready');
      assert.match((await look(['status'])).out, /waypoint +tried\/waypoint-\S+ +node\d .*ready/);
    });
  });
});
