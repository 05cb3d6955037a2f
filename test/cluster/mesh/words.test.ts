import assert from 'node:assert/strict';
import { PART_OF, podLabels } from '../../../cli/install/render/manifest.ts';
import { deployment, idle, namespace, service } from '../support/apps.ts';
import { TestCluster } from '../support/cluster.ts';
import { AMBIENT, installed, MODE } from '../support/installation.ts';
import { lookAt } from '../support/look.ts';
import type { KubeObject } from '../support/resources.ts';

const USE_WAYPOINT = 'loam.dev/use-waypoint';
const NOT_WELL = 3;

/** What a person mistypes, and hears of where they look: `loam status` and `loam check`. */
describe('words about what was mistyped, in a cluster', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const look = lookAt(cluster);
  const ns = 'words';
  const mine = namespace(ns, AMBIENT);
  const web = service(ns, 'web');
  const objects = [mine, deployment(ns, 'web'), web, idle(ns, 'client')];

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    await cluster.readyPods(ns, 'app=web');
    await cluster.until('all is well', async () => (await look(['status', '-n', ns])).code === 0);
  });
  after(() => cluster.remove(...objects));

  /** Waits until both say it; `check` with what mends it. */
  async function said(code: number, status: RegExp, check?: { line: RegExp; mend: RegExp }): Promise<void> {
    await cluster.until(`status says ${status}`, async () => {
      const now = await look(['status', '-n', ns]);
      assert.match(now.out, status);
      assert.equal(now.code, code, now.out);
      return true;
    });
    if (check === undefined) return;
    const { code: found, out } = await look(['check']);
    assert.equal(found, 1, out);
    const finding = out.split(/^(?=[✔✗·])/m).find((line) => line.startsWith('✗') && check.line.test(line));
    assert.match(finding ?? out, check.mend);
  }

  for (const [label, value, why] of [
    ['loam.dev/dataplan-mode', 'ambient', /did you mean "loam\.dev\/dataplane-mode"\?/],
    ['istio.io/dataplane-mode', 'ambient', /has no effect here; did you mean loam\.dev\/dataplane-mode\?/],
    [MODE, 'enabled', /"enabled".*allowed: ambient, observe, none/],
  ] as const)
    it(`${label}=${value} on a namespace is named, with what is meant`, async () => {
      const other = namespace('words-other', { [label]: value });
      await cluster.apply(other);
      try {
        await said(
          0,
          new RegExp(`Namespace words-other: .*${why.source}[^]*\\d warnings?; all programs run\\.`),
          {
            line: new RegExp(`Namespace words-other: .*${why.source}`),
            mend: /→ .*kubectl label namespace words-other .*loam\.dev\/dataplane-mode=ambient/,
          },
        );
      } finally {
        await cluster.remove(other);
      }
    });

  it('a label of a waypoint that does not exist is not well, since connections are refused', async () => {
    for (const [object, text] of [
      [mine, `Namespace ${ns}`],
      [web, `Service ${ns}/web`],
    ] as const) {
      await cluster.label(object, { [USE_WAYPOINT]: 'wapoint' });
      const why = 'there is no Gateway "wapoint" in namespace words, so connections are refused';
      await said(NOT_WELL, new RegExp(`NOT WELL[^]*${text}: .*${why}`), {
        line: new RegExp(`${text}: has the label ${USE_WAYPOINT}=wapoint, and there is no waypoint`),
        mend: /→ make it: loam waypoint apply wapoint -n words --wait; or take the label off/,
      });
      await cluster.label(object, { [USE_WAYPOINT]: null });
    }
    await said(0, /All is well\./);
  });

  it('a principal that is no account, and a route to no Service, are warned of', async () => {
    const policy: KubeObject = {
      ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy' },
      metadata: { name: 'only-clients', namespace: ns },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        rules: [{ from: [{ source: { principals: [`cluster.local/ns/${ns}/sa/clinet`] } }] }],
      },
    };
    const route: KubeObject = {
      ...{ apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute' },
      metadata: { name: 'to-web', namespace: ns },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
        rules: [{ backendRefs: [{ name: 'wbe', port: 80 }] }],
      },
    };
    await cluster.apply(policy, route);
    try {
      await said(0, /AuthorizationPolicy words\/only-clients: .*clinet/);
      await said(
        0,
        /HTTPRoute words\/to-web: .*there is no Service "wbe"[^]*\d warnings; all programs run\./,
      );
    } finally {
      await cluster.remove(policy, route);
    }
  });

  it('a namespace that does not exist is not well without a word', async () => {
    const { code, out, err } = await look(['status', '-n', 'wrods']);
    assert.equal(code, 2, out);
    assert.match(err, /there is no namespace "wrods"; did you mean words\?/);
  });

  it('an installation that is unfinished is called so, with what mends it', async () => {
    const home = 'words-half';
    const labels = podLabels('controller');
    const pod: KubeObject = {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'loam-controller-0', namespace: home, labels } },
      spec: { containers: [{ name: 'controller', image: 'localhost/none:no', imagePullPolicy: 'Never' }] },
    };
    const account: KubeObject = {
      ...{ apiVersion: 'v1', kind: 'ServiceAccount' },
      metadata: { name: 'loam-controller', namespace: home, labels: PART_OF },
    };
    await cluster.apply(namespace(home), account, pod);
    try {
      const status = await look(['status', '--system-namespace', home]);
      assert.match(
        status.err,
        /installation in namespace words-half .* is unfinished: .*loam install --set image=/,
      );
      const upgrade = await look(['upgrade', '--namespace', home, '--set', 'image=localhost/loam:dev']);
      assert.match(upgrade.err, /installation in words-half is unfinished: loam install --set image=/);
      assert.deepEqual([status.code, upgrade.code], [1, 1]);
    } finally {
      await cluster.remove(namespace(home));
    }
  });
});
