/** A policy that denies, with a selector, and what becomes of connections that are open. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestCluster } from '../../test/cluster/support/cluster.ts';
import { NAMESPACE, only, underLoad } from './scene.ts';
import { connectionsText, streamsText } from './text.ts';

export async function deny(cluster: TestCluster, rounds: number, say: (text: string) => void): Promise<void> {
  const client = await only(cluster, 'client');
  const policy = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'deny-client', namespace: NAMESPACE },
    spec: {
      selector: { matchLabels: { app: 'server' } },
      action: 'DENY',
      rules: [{ from: [{ source: { principals: [`cluster.local/ns/${NAMESPACE}/sa/default`] } }] }],
    },
  };
  for (let round = 1; round <= rounds; round += 1) {
    let removed = 0;
    const seen = await underLoad(
      cluster,
      client,
      async () => {
        await cluster.apply(policy);
        await sleep(4000);
        removed = Date.now();
        await cluster.remove(policy);
      },
      4000,
    );
    const last = Math.max(...seen.connections.failures.map(({ at }) => at));
    say(`DENY with a selector, round ${round}: ${streamsText(seen.streams, seen.at)}`);
    say(
      `  ${connectionsText(seen.connections, seen.at)}; the last refused one ${(last - removed).toFixed(0)} ms after the policy was removed`,
    );
  }
}
