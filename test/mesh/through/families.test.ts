import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'mocha';
import { Driver } from '../driver.ts';
import { eventually } from '../harness.ts';
import { ipOf, resolved } from '../plain/names.ts';
import type { Family } from '../plain/mesh.ts';
import { wayLine } from '../waypoint-manifests.ts';
import { throughMesh } from './mesh.ts';

/** By what its pod has: clients dial with what they have, and the waypoint's leg is of the endpoint's family. */
const CLIENTS: readonly (readonly [string, readonly Family[]])[] = [
  ['client', ['4', '6']],
  ['four', ['4']],
  ['six', ['6']],
];
const ENDPOINTS: Readonly<Record<string, readonly Family[]>> = {
  'on-four': ['4'],
  'on-six': ['6'],
  'on-both': ['4', '6'],
};
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('mesh: both IP families through a waypoint', function () {
  this.timeout(180_000);
  const mesh = throughMesh.use();
  const drivers = new Map<string, Driver>();
  before(async () => {
    for (const [pod] of CLIENTS) drivers.set(pod, await Driver.in(mesh(), pod));
  });
  after(() => {
    for (const driver of drivers.values()) driver.stop();
  });
  const driver = (pod: string): Driver => {
    const found = drivers.get(pod);
    assert.ok(found);
    return found;
  };

  for (const [pod, families] of CLIENTS)
    for (const family of families)
      for (const [service, served] of Object.entries(ENDPOINTS)) {
        const way = `${pod} by IPv${family}, endpoint ${service}`;

        it(`${way}: requests, with who the client is`, async () => {
          const host = await resolved(mesh(), 'client', service, family);
          const own = await ipOf(mesh(), pod, family);
          const told = await driver(pod).told({
            host,
            port: 80,
            method: 'POST',
            path: '/who',
            body: 'hello',
          });
          assert.deepEqual([told.pod, told.sha256], [service, sha256('hello')]);
          assert.equal(told.headers['x-forwarded-for'], own);
          assert.match(
            told.headers['x-forwarded-client-cert'] ?? '',
            new RegExp(`/sa/way;URI=.*/sa/${pod}$`),
          );
        });

        it(`${way}: connections that pass unread, with the client's own address`, async () => {
          const host = await resolved(mesh(), 'client', service, family);
          const { received, end } = await driver(pod).conversation(host, 7000, [
            { until: 'HELLO .*\\n' },
            { say: 'ping', until: 'ping' },
          ]);
          assert.equal(end, 'done', received);
          // On a leg over IPv4 a client that came by IPv6 is shown by its IPv4 address, where it has one.
          const has = CLIENTS.find(([name]) => name === pod)?.[1] ?? [];
          const shown = served[0] === '4' && has.includes('4') ? '4' : family;
          assert.equal(received, `HELLO ${await ipOf(mesh(), pod, shown)} from ${service}\nping`);
        });
      }

  it('a half-close and 3 MB, by IPv6 from end to end', async () => {
    const host = await resolved(mesh(), 'client', 'on-six', '6');
    const { received, end, sha256: sum } = await driver('six').tcp(host, 7001, 3_000_000);
    assert.equal(end, 'closed');
    assert.equal(received, `3000000 ${sum} ${await ipOf(mesh(), 'six', '6')}\n`);
  });

  it('every leg is of the family of its ends, and by mutual TLS', async () => {
    const host = await resolved(mesh(), 'client', 'on-six', '6');
    await driver('six').told({ host, port: 80, path: '/legs', fresh: true });
    const line = await wayLine(mesh(), '/legs');
    assert.equal(line['dst.addr'], `[${host}]:80`);
    assert.equal(line['dst.identity'], 'spiffe://cluster.local/ns/m/sa/server');
    const own = await ipOf(mesh(), 'six', '6');
    const from = line['src.addr'] ?? '';
    assert.ok(from.startsWith(`[${own}]:`), from);
    // What the test before this one sent.
    const address = `[${await ipOf(mesh(), 'on-six', '6')}]:7001`;
    const leg = await eventually('the leg to the endpoint', () =>
      mesh()
        .accessLog('node-b')
        .find((each) => each.direction === 'inbound' && each.destinationAddress === address),
    );
    assert.deepEqual(
      [leg.destination, leg.sourceIdentity],
      ['m/on-six', 'spiffe://cluster.local/ns/m/sa/six'],
    );
  });

  it('nobody goes round it by the other family', async () => {
    for (const [pod, family] of [
      ['client', '6'],
      ['six', '6'],
      ['client', '4'],
    ] as const) {
      const host = await ipOf(mesh(), 'on-both', family);
      const answer = await driver(pod).request({ host, port: 8080, fresh: true });
      assert.equal(answer.status, undefined, `${pod} to ${host}: ${JSON.stringify(answer)}`);
    }
  });
});
