import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { after, before, describe, it } from 'mocha';
import { appFile } from '../mesh/harness.ts';
import {
  dualStackConfig,
  FAKE_CA,
  harness,
  inPod,
  prepareZtunnel,
  rustLog,
  withIpv6,
  withoutIptables,
} from './harness.ts';
import { type DualStackPod, LoamSides, until } from './loam-side.ts';

const FAMILIES = ['IPv4', 'IPv6'] as const;
type Family = (typeof FAMILIES)[number];
/** Where the server pod greets its clients with their addresses, on an MPTCP socket of both families. */
const GREETER = 7100;
const CLIENT = 'spiffe://cluster.local/ns/default/sa/client';

const addressOf = (pod: DualStackPod, family: Family): string => (family === 'IPv4' ? pod.ip : pod.ip6);

/** iperf3's server takes one test at a time, and is through with the last some moments after its client is. */
async function bulk(client: DualStackPod, address: string, more: readonly string[]): Promise<void> {
  await until('iperf3 to be free', () => {
    try {
      inPod(client, ['iperf3', '-c', address, '-n', '32M', ...more]);
      return true;
    } catch (error) {
      if (error instanceof Error && error.message.includes('server is busy')) return false;
      throw error;
    }
  });
}

interface Pair {
  readonly client: DualStackPod;
  readonly server: DualStackPod;
  readonly loam: LoamSides;
}

/** One pair of pods with the Rust ztunnel at one end and Loam at the other. */
function mixedPair(
  pair: string,
  loamSide: 'client' | 'server',
  firstPort: number,
  serverLog: (loam: LoamSides) => string,
): void {
  const rustSide = loamSide === 'client' ? 'server' : 'client';
  describe(`Loam as ${loamSide}, the Rust ztunnel as ${rustSide}`, () => {
    let loam: LoamSides | undefined;
    let greeter: ChildProcess | undefined;
    let pods: readonly [DualStackPod, DualStackPod];

    before(async function () {
      this.timeout(120_000);
      prepareZtunnel();
      harness('setup.sh', [pair]);
      pods = withIpv6(pair, rustSide);
      const served = pods.find((pod) => pod.side === loamSide);
      assert(served);
      withoutIptables(served);
      const config = dualStackConfig(pair, pods);
      // Of two settings of one name the last one holds.
      harness('run-ztunnel.sh', [pair, rustSide], { EXTRA_ENV: `LOCAL_XDS_PATH=${config}` });
      const greet = [appFile('mptcp-server.py'), String(GREETER)];
      greeter = spawn('nsenter', [`--net=${pods[1].netns}`, 'python3', ...greet], { stdio: 'ignore' });
      loam = new LoamSides({
        ...{ name: `io-${pair}`, pods, serve: [loamSide], firstPort },
        ...{ rootCert: FAKE_CA.cert, rootKey: FAKE_CA.key },
      });
      await loam.start();
    });

    after(async function () {
      this.timeout(60_000);
      greeter?.kill();
      try {
        await loam?.stop();
      } finally {
        harness('teardown.sh', [pair]);
      }
    });

    const get = (): Pair => {
      assert(loam);
      const [client, server] = pods;
      return { client, server, loam };
    };

    for (const family of FAMILIES) {
      it(`passes connections over mutual TLS, and shows the server its true client (${family})`, async () => {
        const { client, server, loam } = get();
        const to = [addressOf(server, family), String(GREETER)];
        const dial = ['python3', appFile('sockets.py'), family.slice(-1), ...to, '-', 'mptcp'];
        const said = inPod(client, dial);
        const { remote, greeting } = JSON.parse(said) as { remote: string; greeting: string };
        assert.equal(remote, addressOf(server, family));
        assert.ok(greeting.includes(`${addressOf(client, family)}:`), greeting);
        const dialled = `${family === 'IPv4' ? server.ip : `[${server.ip6}]`}:${GREETER}`;
        await until(
          "the server's log to name the client and the address that was dialled",
          () =>
            serverLog(loam)
              .split('\n')
              .some((line) => line.includes(`"${CLIENT}"`) && line.includes(dialled)),
          50,
        );
      });

      it(`carries bulk data both ways (${family})`, async () => {
        const { client, server } = get();
        await bulk(client, addressOf(server, family), []);
        await bulk(client, addressOf(server, family), ['-R']);
      });
    }
  });
}

describe('interoperation with the Rust ztunnel', () => {
  mixedPair('lclient', 'client', 25100, () => rustLog('lclient', 'server'));
  mixedPair('lserver', 'server', 25200, (loam) => loam.log('ztunnel-server'));
});
