import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { check } from '../../../../cli/install/check/check.ts';
import type { Finding } from '../../../../cli/install/check/finding.ts';
import { InstallError } from '../../../../cli/install/errors.ts';
import { cleanup, CLEANUP_SELECTOR } from '../../../../cli/install/render/cleanup.ts';
import { endCleanup } from '../../../../cli/install/roll-out.ts';
import { FakeCluster, NAMESPACE } from './fake-cluster.ts';

const CNI = { confFolder: '/etc/cni/net.d', binFolder: '/opt/cni/bin' };
const IMAGE = { image: 'loam', imagePullPolicy: 'Always', imagePullSecrets: [], cni: CNI };

describe('an uninstall that was begun and not ended', () => {
  function begun(): FakeCluster {
    const cluster = new FakeCluster();
    cluster.put(cleanup(NAMESPACE, IMAGE, 'remove'));
    return cluster;
  }
  const end = (cluster: FakeCluster, timeoutMs: number, said: string[] = []): Promise<void> =>
    endCleanup(cluster.writable, NAMESPACE, { timeoutMs, say: (line) => said.push(line) });

  it('is told, since its pods take nodes out of the mesh again when an agent ends', async () => {
    const findings: Finding[] = [];
    assert.equal(await check(begun().subject(), (finding) => findings.push(finding)), false);
    assert.match(findings.find(({ what }) => what === 'uninstall')?.text ?? '', /begun and not ended/);
  });

  it('is ended before agents are started again', async () => {
    const cluster = begun();
    const said: string[] = [];
    await end(cluster, 0, said);
    assert.equal(said.length, 1);
    assert.throws(() => cluster.at('apps/v1', 'DaemonSet', 'loam-cleanup', NAMESPACE));
    await end(cluster, 0, said);
    assert.equal(said.length, 1, 'there is none any more');
  });

  it('lets no agent start while its pods are there', async () => {
    const cluster = begun();
    cluster.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'loam-cleanup-x', namespace: NAMESPACE, labels: { ...CLEANUP_SELECTOR } },
    });
    await assert.rejects(
      end(cluster, 0),
      (error) => error instanceof InstallError && error.code === 'INSTALL_NOT_READY',
    );
  });
});

describe('an installation that was interrupted', () => {
  it('is mended by another installation, since there is none to upgrade', async () => {
    const cluster = new FakeCluster();
    cluster.at('v1', 'Pod', 'controller-node1', NAMESPACE).status = {
      containerStatuses: [
        { name: 'controller', ready: false, state: { waiting: { reason: 'ErrImageNeverPull' } } },
      ],
    };
    for (const [installed, command] of [
      [false, 'install'],
      [true, 'upgrade'],
    ] as const) {
      const findings: Finding[] = [];
      await check(cluster.subject(installed), (finding) => findings.push(finding));
      const lacking = findings.find(({ text }) => text.includes('ErrImageNeverPull'));
      assert.match(lacking?.mend ?? '', new RegExp(`or give another: loam ${command} --set image=…`));
    }
  });
});
