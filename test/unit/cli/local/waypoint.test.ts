import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'mocha';
import { ProcessRecords } from '../../../../cli/local/process-record.ts';
import { Waypoint } from '../../../../cli/local/waypoint.ts';
import { makeNetns, removeAllNetns } from '../../lib/linux/test-netns.ts';

/** Answers as a waypoint does: ready when the file is there; tells by another file that it ended in good order. */
const PROGRAM = `
const { createServer } = require('node:http');
const { existsSync, writeFileSync } = require('node:fs');
const [ready, ended] = process.argv.slice(1);
createServer((request, response) => {
  response.statusCode = request.url === '/healthz/ready' && existsSync(ready) ? 200 : 503;
  response.end('gates');
}).listen(15021);
process.on('SIGTERM', () => { writeFileSync(ended, 'by SIGTERM'); process.exit(0); });
`;

describe('local mesh: an instance of a waypoint', function () {
  this.timeout(30_000);
  let dir: string;
  let waypoint: Waypoint | undefined;
  let looks: (() => void)[] = [];

  before(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
  afterEach(async () => {
    await waypoint?.stop(0);
    waypoint = undefined;
    looks = [];
  });
  after(() => {
    removeAllNetns();
    rmSync(dir, { recursive: true });
  });

  function make(name: string): { it: Waypoint; until: (what: () => boolean) => Promise<void>; file: string } {
    const space = makeNetns(name);
    const file = join(dir, name);
    const it = new Waypoint({
      ...{
        gateway: 'shop/waypoint',
        slot: 0,
        index: 0,
        instance: 'waypoint-0',
        node: 'node-a',
        netns: space.name,
      },
      addresses: { ip4: '198.18.1.9', ip6: 'fd00::9' },
      command: [
        ...(['nsenter', `--net=${space.path}`, process.execPath, '-e', PROGRAM] as const),
        ...[`${file}.ready`, `${file}.ended`],
      ],
      logPath: `${file}.log`,
      env: {},
      records: new ProcessRecords(join(dir, 'records'), 'mark'),
      onChange: () => looks.forEach((look) => look()),
    });
    waypoint = it;
    const until = (what: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        const look = (): void => {
          if (what()) resolve();
        };
        looks.push(look);
        look();
      });
    return { it, until, file };
  }

  it('is ready when it says so, not when its process was killed, and again with the next one', async () => {
    const { it, until, file } = make('a');
    it.start();
    await until(() => it.state.state === 'running');
    assert.equal(it.ready, false);
    writeFileSync(`${file}.ready`, '');
    await until(() => it.ready);
    const { state } = it;
    assert.ok(state.state === 'running');
    process.kill(state.pid, 'SIGKILL');
    await until(() => it.state.state === 'waiting');
    assert.equal(it.ready, false, 'what it said before its end counts no more');
    await until(() => it.ready);
    assert.ok(it.state.state === 'running' && it.state.restarts === 1 && it.state.pid !== state.pid);
    // One that says so itself is not ready any more either.
    rmSync(`${file}.ready`);
    await until(() => !it.ready);
    assert.equal(it.state.state, 'running');
  });

  it('is told to end before it is killed, and is not started again', async () => {
    const { it, until, file } = make('b');
    writeFileSync(`${file}.ready`, '');
    it.start();
    await until(() => it.ready);
    await it.stop(20_000);
    assert.equal(it.ready, false);
    assert.deepEqual(it.state, { state: 'stopped' });
    assert.ok(existsSync(`${file}.ended`));
    assert.match(readFileSync(`${file}.log`, 'utf8'), /-- waypoint shop\/waypoint ended: exit code 0/);
  });
});
