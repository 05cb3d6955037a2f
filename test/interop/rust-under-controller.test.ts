import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import type { ControllerStatus } from '../../cli/local/status.ts';
import { after, before, describe, it } from 'mocha';
import { FAKE_CA, harness, inPod, podsOf, prepareZtunnel } from './harness.ts';
import { nodeOf, type ServedPod, until, writeMesh } from './loam-side.ts';
import { RustNode } from './rust-node.ts';

/** A policy on the server, in the form that a user writes. */
function policy(action: 'ALLOW' | 'DENY', serviceAccount: string): string {
  return JSON.stringify({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'server', namespace: 'default' },
    spec: {
      selector: { matchLabels: { app: 'server' } },
      action,
      rules: [{ from: [{ source: { principals: [`cluster.local/ns/default/sa/${serviceAccount}`] } }] }],
    },
  });
}

for (const { onDemand, pair: PAIR } of [
  { onDemand: false, pair: 'lcontrol' },
  { onDemand: true, pair: 'ldemand' },
])
  describe(`Istio's Rust ztunnel under Loam's controller${onDemand ? ', on demand' : ''}`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'loam-rust-'));
    const nodes: RustNode[] = [];
    let client: ServedPod;
    let server: ServedPod;

    const passes = (seconds = 5): boolean => {
      try {
        inPod(client, [
          'curl',
          '-sS',
          '--max-time',
          String(seconds),
          '-o',
          '/dev/null',
          `http://${server.ip}:8080/`,
        ]);
        return true;
      } catch {
        return false;
      }
    };

    before(async function () {
      this.timeout(120_000);
      prepareZtunnel();
      harness('setup.sh', [PAIR]);
      [client, server] = podsOf(PAIR);
      writeMesh(folder, [client, server]);
      for (const pod of [client, server]) {
        const node = new RustNode(PAIR, pod, folder, onDemand);
        nodes.push(node);
        await node.start(folder, FAKE_CA);
      }
    });

    after(async function () {
      this.timeout(60_000);
      try {
        for (const node of nodes) await node.stop();
      } finally {
        harness('teardown.sh', [PAIR]);
        rmSync(folder, { recursive: true, force: true });
      }
    });

    it(onDemand ? 'is told of its own pods, and of no others' : 'is told of all pods', async () => {
      const all = onDemand ? [['client'], ['server']] : [0, 1].map(() => ['client', 'server']);
      await until('the nodes to know them', () =>
        nodes.every((node, i) => isDeepStrictEqual(node.workloads(), all[i])),
      );
    });

    it('takes workloads and certificates from it and passes a request over mutual TLS', async () => {
      // What is dialled first waits for what the controller says of it, and not for ever.
      if (onDemand) assert(passes(60), 'the first request');
      await until('a request to pass', () => passes(), 50);
      await until(
        "the server's log to say so",
        () =>
          /src\.identity="spiffe:\/\/cluster\.local\/ns\/default\/sa\/client"/.test(
            nodes[1]?.read('ztunnel.log') ?? '',
          ),
        50,
      );
      if (onDemand)
        assert.deepEqual(nodes[0]?.workloads(), ['client', 'server'], 'it asked for what was dialled');
    });

    it('enforces the policies that it compiles', async () => {
      const file = join(folder, 'manifests', 'policy.yaml');
      writeFileSync(file, policy('DENY', 'client'));
      await until('the request to be denied', () => !passes(), 50);
      await until(
        "the server's log to say so",
        () => /policy rejection|default\/server/.test(nodes[1]?.read('ztunnel.log') ?? ''),
        50,
      );
      writeFileSync(file, policy('ALLOW', 'client'));
      await until('the request to be allowed', () => passes(), 50);
      writeFileSync(file, policy('ALLOW', 'somebody-else'));
      await until('the request to be denied where no ALLOW matches', () => !passes(), 50);
      rmSync(file);
      await until('the request to pass again', () => passes(), 50);
    });

    it('is named in the status of an EgressPolicy as not enforcing it, and sees nothing of it', async () => {
      const policy = {
        apiVersion: 'loam.dev/v1',
        kind: 'EgressPolicy',
        metadata: { name: 'nothing', namespace: 'default' },
        spec: { selector: { matchLabels: { app: 'client' } } },
      };
      writeFileSync(join(folder, 'manifests', 'egress.yaml'), JSON.stringify(policy));
      const [node] = nodes;
      assert(node !== undefined);
      let found: ControllerStatus['objects'][number] | undefined;
      await until('the policy to be in force', async () => {
        found = (await node.status()).objects.find(({ kind }) => kind === 'EgressPolicy');
        return found?.conditions?.some(({ type }) => type === 'Enforced') === true;
      });
      const enforced = found?.conditions?.find(({ type }) => type === 'Enforced');
      assert.equal(enforced?.status, 'False');
      assert.match(
        enforced.message,
        new RegExp(`not enforced on ${nodeOf(client)}, whose proxy is not Loam's`),
      );
      assert.match(
        found?.message ?? '',
        new RegExp(`not enforced on node ${nodeOf(client)}: its proxy is not Loam's`),
      );
      assert(passes(), 'and it does not');
      assert.doesNotMatch(node.read('ztunnel.log'), /loam\.egress/);
    });
  });
