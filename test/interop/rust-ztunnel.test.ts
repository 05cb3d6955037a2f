import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { FAKE_CA, harness, inPod, podsOf, prepareZtunnel, rustLog, withoutIptables } from './harness.ts';
import { LoamSides, type ServedPod, until } from './loam-side.ts';

const URL_OF = (pod: ServedPod): string => `http://${pod.ip}:8080/`;
const BODY = `${'x'.repeat(128)}\n`;
const CURL = ['curl', '-sS', '--max-time', '15'];

/** iperf3's server takes one test at a time, and is through with the last some moments after its client is. */
async function bulk(client: ServedPod, server: ServedPod, more: readonly string[]): Promise<void> {
  await until('iperf3 to be free', () => {
    try {
      inPod(client, ['iperf3', '-c', server.ip, '-n', '64M', ...more]);
      return true;
    } catch (error) {
      if (error instanceof Error && error.message.includes('server is busy')) return false;
      throw error;
    }
  });
}

/** One pair of pods with the Rust ztunnel at one end and Loam at the other. */
function mixedPair(
  pair: string,
  loamSide: 'client' | 'server',
  firstPort: number,
  body: (get: () => [ServedPod, ServedPod, LoamSides]) => void,
): void {
  describe(`Loam as ${loamSide}, the Rust ztunnel as ${loamSide === 'client' ? 'server' : 'client'}`, () => {
    let loam: LoamSides | undefined;
    const pods = (): readonly [ServedPod, ServedPod] => podsOf(pair);

    before(async function () {
      this.timeout(120_000);
      prepareZtunnel();
      harness('setup.sh', [pair]);
      const served = pods().find((pod) => pod.side === loamSide);
      assert(served);
      withoutIptables(served);
      harness('run-ztunnel.sh', [pair, loamSide === 'client' ? 'server' : 'client']);
      loam = new LoamSides({
        name: `io-${pair}`,
        pods: pods(),
        serve: [loamSide],
        rootCert: FAKE_CA.cert,
        rootKey: FAKE_CA.key,
        firstPort,
      });
      await loam.start();
    });

    after(async function () {
      this.timeout(60_000);
      try {
        await loam?.stop();
      } finally {
        harness('teardown.sh', [pair]);
      }
    });

    body(() => {
      assert(loam);
      return [...pods(), loam] as [ServedPod, ServedPod, LoamSides];
    });
  });
}

describe('interoperation with the Rust ztunnel', () => {
  mixedPair('lclient', 'client', 25100, (get) => {
    it('passes requests over mutual TLS', async () => {
      const [client, server] = get();
      assert.equal(inPod(client, [...CURL, URL_OF(server)]), BODY);
      const identity = /src\.identity="spiffe:\/\/cluster\.local\/ns\/default\/sa\/client"/;
      await until(
        "the Rust server's log to name the client",
        () => identity.test(rustLog('lclient', 'server')),
        50,
      );
    });

    it('carries bulk data both ways', async () => {
      const [client, server] = get();
      await bulk(client, server, []);
      await bulk(client, server, ['-R']);
    });
  });

  mixedPair('lserver', 'server', 25200, (get) => {
    it('passes requests over mutual TLS', async () => {
      const [client, server, loam] = get();
      assert.equal(inPod(client, [...CURL, URL_OF(server)]), BODY);
      const identity = /"src\.identity":"spiffe:\/\/cluster\.local\/ns\/default\/sa\/client"/;
      await until("the server's log to name the client", () => identity.test(loam.log('ztunnel-server')), 50);
    });

    it('carries bulk data both ways', async () => {
      const [client, server] = get();
      await bulk(client, server, []);
      await bulk(client, server, ['-R']);
    });
  });
});
