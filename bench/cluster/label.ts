/** Labelling a namespace whose pods run, and taking the label away, under load. */
import { setTimeout as sleep } from 'node:timers/promises';
import { namespace } from '../../test/cluster/support/apps.ts';
import type { TestCluster } from '../../test/cluster/support/cluster.ts';
import { AMBIENT, MODE } from '../../test/cluster/support/installation.ts';
import { Link, NAMESPACE, only, PORT, underLoad } from './scene.ts';
import { connectionsText, streamsText } from './text.ts';

const SETTLE_MS = 8000;

/** Says for each round what became of streams and new connections, and when the first one was HBONE. */
export async function label(
  cluster: TestCluster,
  rounds: number,
  say: (text: string) => void,
): Promise<void> {
  const client = await only(cluster, 'client');
  const server = await only(cluster, 'server');
  for (let round = 1; round <= rounds; round += 1) {
    await cluster.label(namespace(NAMESPACE), { [MODE]: null });
    await sleep(SETTLE_MS);
    const between = `src host ${client.status.podIP} and dst host ${server.status.podIP}`;
    const link = await Link.start(
      cluster,
      `${between} and tcp[tcpflags] & tcp-syn != 0 and (dst port 15008 or dst port ${PORT})`,
    );
    let took = 0;
    const seen = await underLoad(
      cluster,
      client,
      async () => {
        const begun = Date.now();
        await cluster.label(namespace(NAMESPACE), AMBIENT);
        took = Date.now() - begun;
      },
      SETTLE_MS,
    );
    const syns = (await link.stop()).filter(({ at }) => at > seen.at);
    const first = syns.find(({ text }) => text.includes('.15008:'))?.at;
    const lastPlain = syns.findLast(({ text }) => text.includes(`.${PORT}:`))?.at;
    const after = (at: number | undefined): string =>
      at === undefined ? 'none' : `${(at - seen.at).toFixed(0)} ms`;
    say(
      `label, round ${round}: the request took ${took} ms; first HBONE connection after ${after(first)}, last plain one after ${after(lastPlain)}`,
    );
    say(`  ${streamsText(seen.streams, seen.at)}; ${connectionsText(seen.connections, seen.at)}`);
    const back = await underLoad(
      cluster,
      client,
      () => cluster.label(namespace(NAMESPACE), { [MODE]: null }),
      SETTLE_MS,
    );
    say(`  and back: ${streamsText(back.streams, back.at)}; ${connectionsText(back.connections, back.at)}`);
  }
}
