import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it } from 'mocha';
import { finished } from '../harness.ts';
import { clientOf, type Dialled, FAMILIES, plainMesh } from './mesh.ts';
import { ipOf, resolved } from './names.ts';

/** So many connections at once. */
const MANY = 300;

describe('mesh: applications notice nothing', function () {
  this.timeout(180_000);
  const mesh = plainMesh.use();

  for (const family of FAMILIES)
    describe(`IPv${family}`, () => {
      for (const [server, where] of [
        ['server', 'another node'],
        ['near', 'the same node'],
      ] as const) {
        it(`a protocol in which the server speaks first, on ${where}`, async () => {
          const vip = await resolved(mesh(), 'client', server, family);
          const [dialled] = (await mesh().client('client', 'listen', vip, '7000', '20000')) as Dialled[];
          assert.match(dialled?.received ?? '', /^HELLO \{/);
          assert.equal(clientOf(dialled?.received ?? ''), await ipOf(mesh(), 'client', family));
        });

        it(`a half-close with nc -N, on ${where}`, async () => {
          const data = randomBytes(300_000);
          const child = await mesh().spawn('client', 'nc', `-${family}N`, server, '7001');
          const { code, stdout } = await finished(child, data);
          assert.equal(code, 0);
          assert.equal(stdout, `${data.length} ${createHash('sha256').update(data).digest('hex')}\n`);
        });

        it(`${MANY} connections at once, on ${where}`, async () => {
          const vip = await resolved(mesh(), 'client', server, family);
          const [ends] = await mesh().client('client', 'many', vip, '7000', String(MANY));
          assert.deepEqual(ends, { good: MANY });
        });
      }

      it('a port where nobody listens is closed, not left hanging (F18)', async () => {
        const ip = await ipOf(mesh(), 'server', family);
        const [dialled] = (await mesh().client('client', 'listen', ip, '9', '20000')) as Dialled[];
        assert.equal(dialled?.received, '');
        assert.notEqual(dialled.end, 'timeout');
      });

      it("the database's own client", async () => {
        const vip = await resolved(mesh(), 'client', 'redis', family);
        const redis = (...words: string[]) => mesh().exec('client', 'redis-cli', '-h', vip, ...words);
        const set = await redis('set', 'key', `value ${family}`);
        assert.equal(set.stdout, 'OK\n', set.stderr);
        assert.equal((await redis('get', 'key')).stdout, `value ${family}\n`);
        const list = await redis('client', 'list');
        const own = await ipOf(mesh(), 'client', family);
        const known = `addr=${family === '4' ? own : `[${own}]`}:`;
        assert.ok(list.stdout.includes(known), `Redis knows the true client: ${list.stdout}`);
      });

      for (const direction of ['forward', 'reverse'])
        it(`iperf3 ${direction}`, async () => {
          const vip = await resolved(mesh(), 'client', 'server', family);
          const reverse = direction === 'reverse' ? ['-R'] : [];
          const args = ['-c', vip, '-p', '5201', '-n', '20M', '-J', ...reverse];
          const { code, stdout } = await mesh().exec('client', 'iperf3', ...args);
          const report = JSON.parse(stdout) as {
            error?: string;
            end: Record<'sum_sent' | 'sum_received', { bytes: number }>;
          };
          assert.equal(code, 0, report.error ?? '');
          assert.ok(report.end.sum_sent.bytes >= 20_000_000);
          // Not all of it: iperf3 ends the test by word of another connection, which may overtake the last bytes.
          assert.ok(report.end.sum_received.bytes > 1_000_000);
        });
    });
});
