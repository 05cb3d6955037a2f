import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { EarlierConnections, parseGrace } from '../../../agent/earlier-connections.ts';
import { newRecord, type PodRecord } from '../../../agent/pod-record.ts';
import type { TcpConnection } from '../../../lib/linux/tcp-connections.ts';
import { FakeClock, FakeLog, pod } from './fakes.ts';

const connection = (cookie: number, remote: string, local = '198.18.0.1'): TcpConnection => ({
  cookie: BigInt(cookie),
  local: { ip: local, port: 40_000 + cookie },
  remote: { ip: remote, port: 80 },
  raw: { family: 2, id: Buffer.alloc(48) },
});

describe('connections from before a pod was enrolled', () => {
  let folder: string;
  let clock: FakeClock;
  let log: FakeLog;
  let there: TcpConnection[];
  let destroyed: bigint[];
  let earlier: EarlierConnections;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-earlier-'));
    clock = new FakeClock();
    log = new FakeLog();
    there = [];
    destroyed = [];
    earlier = make();
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function make(bootId = 'this start'): EarlierConnections {
    return new EarlierConnections({
      list: () => there,
      destroy: (_fd, { cookie }) => {
        destroyed.push(cookie);
        there = there.filter((each) => each.cookie !== cookie);
        return true;
      },
      file: join(folder, 'earlier.json'),
      bootId,
      graceMs: 600_000,
      clock,
      log,
    });
  }

  function record(annotations: Record<string, string> = {}): PodRecord {
    const netns = { fd: 9, inode: { dev: 4n, ino: 7n }, cookie: 7n };
    return { ...newRecord(pod('a', { annotations }), clock.now()), netns };
  }

  it('are counted and shown while they last', () => {
    const web = record();
    there = [connection(1, '198.18.0.2'), connection(2, 'fd00::2', 'fd00::1')];
    earlier.enrolled(web);
    assert.deepEqual(earlier.of(web), {
      count: 2,
      cutAt: new Date(clock.now() + 600_000).toISOString(),
      connections: ['198.18.0.1:40001 198.18.0.2:80', '[fd00::1]:40002 [fd00::2]:80'],
    });
    // Later ones go through the mesh, whoever they are with.
    there = [...there.slice(0, 1), connection(3, '198.18.0.2')];
    clock.advance(5000);
    earlier.look([web]);
    assert.equal(earlier.of(web)?.count, 1);
    there = [];
    clock.advance(5000);
    earlier.look([web]);
    assert.equal(earlier.of(web), undefined);
    assert.deepEqual(destroyed, []);
  });

  it('are not those within the pod, and none of the mesh', () => {
    there = [
      connection(1, '127.0.0.1', '127.0.0.1'),
      connection(2, '::1', '::1'),
      connection(3, '198.18.0.1'),
      connection(4, '198.18.0.1', '127.0.0.5'),
      // Of a proxy that outlived an enrolment: to the application over IPv6, a tunnel out, and one in.
      connection(5, 'fd5b:8c1d:9a6e::5', 'fd00::1'),
      { ...connection(6, '198.18.0.2'), remote: { ip: '198.18.0.2', port: 15008 } },
      { ...connection(7, '198.18.0.2'), local: { ip: '198.18.0.1', port: 15008 } },
    ];
    earlier.enrolled(record());
    assert.equal(earlier.of(record()), undefined);
  });

  it('are cut when the grace is over, and not before', () => {
    const web = record();
    there = [connection(1, '198.18.0.2')];
    earlier.enrolled(web);
    there.push(connection(2, '198.18.0.2'));
    clock.advance(599_000);
    earlier.look([web]);
    assert.deepEqual(destroyed, []);
    clock.advance(5000);
    earlier.look([web]);
    assert.deepEqual(destroyed, [1n], 'a later connection is left alone');
    assert.equal(earlier.cut, 1);
    assert.equal(log.count('their grace is over'), 1);
    clock.advance(5000);
    earlier.look([web]);
    assert.deepEqual(destroyed, [1n]);
  });

  it('have the grace that the pod says', () => {
    const patient = record({ 'loam.dev/enrol-grace': 'never' });
    there = [connection(1, '198.18.0.2')];
    earlier.enrolled(patient);
    clock.advance(1e9);
    earlier.look([patient]);
    assert.deepEqual(earlier.of(patient), { count: 1, connections: ['198.18.0.1:40001 198.18.0.2:80'] });
    // An annotation may be changed at any time.
    earlier.look([record({ 'loam.dev/enrol-grace': '0s' })]);
    clock.advance(5000);
    earlier.look([record({ 'loam.dev/enrol-grace': '0s' })]);
    assert.deepEqual(destroyed, [1n]);
    for (const [text, ms] of [
      ['30s', 30_000],
      ['10m', 600_000],
      ['2h', 7_200_000],
      ['never', Infinity],
      ['10', undefined],
      ['-1s', undefined],
      ['', undefined],
    ] as const)
      assert.equal(parseGrace(text), ms, text);
  });

  it('are remembered by the next agent, and not past the next start of the machine', () => {
    there = [connection(1, '198.18.0.2')];
    earlier.enrolled(record());
    assert.equal(statSync(join(folder, 'earlier.json')).mode & 0o777, 0o600);
    assert.equal(make('another start').of(record()), undefined);
    const next = make();
    assert.equal(next.of(record())?.count, 1);
    clock.advance(600_000);
    next.look([record()]);
    assert.deepEqual(destroyed, [1n]);
    assert.equal(make().of(record()), undefined);
  });

  it('are forgotten with the pod, which is none of ours any more', () => {
    there = [connection(1, '198.18.0.2')];
    earlier.enrolled(record());
    clock.advance(5000);
    earlier.look([]);
    clock.advance(1e9);
    earlier.look([record()]);
    assert.deepEqual(destroyed, []);
  });
});
