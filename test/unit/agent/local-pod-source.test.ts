import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { LocalPodSource } from '../../../agent/local-pod-source.ts';
import { FakeClock, pod } from './fakes.ts';

describe('local pod source', () => {
  let dir: string;
  let file: string;
  let source: LocalPodSource | undefined;
  let changed: () => void;

  /** Replaces the file as the command line does. */
  function write(content: unknown): void {
    const text = typeof content === 'string' ? content : JSON.stringify({ pods: content });
    writeFileSync(`${file}.tmp`, text);
    renameSync(`${file}.tmp`, file);
  }

  function open(clock?: FakeClock): LocalPodSource {
    source = new LocalPodSource(file, clock);
    source.start(() => changed());
    return source;
  }

  /** Does something, and waits until the source has told of a change. */
  async function change(action: () => void): Promise<void> {
    const told = new Promise<void>((resolve) => (changed = resolve));
    action();
    await told;
  }

  const names = (): string[] => [...(source?.state.pods.values() ?? [])].map(({ name }) => name);
  const problem = (): string => source?.state.problems[0]?.message ?? '';

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'lau-'));
    file = join(dir, 'pods.json');
    changed = () => undefined;
  });

  afterEach(() => {
    source?.close();
    rmSync(dir, { recursive: true });
  });

  it('follows the file as it is replaced', async () => {
    write([pod('a')]);
    open();
    assert.deepEqual([source?.state.synced, names()], [true, ['a']]);
    await change(() => write([pod('a'), pod('b')]));
    assert.deepEqual(names(), ['a', 'b']);
    await change(() => write([]));
    assert.deepEqual(names(), []);
  });

  it('is not synced while there is no file, then reads it', async () => {
    open();
    assert.equal(source?.state.synced, false);
    assert.match(problem(), /ENOENT/);
    await change(() => write([pod('a')]));
    assert.deepEqual([source?.state.synced, names()], [true, ['a']]);
  });

  it('finds a folder that appears later, by reading again', () => {
    const clock = new FakeClock();
    file = join(dir, 'later', 'pods.json');
    open(clock);
    mkdirSync(join(dir, 'later'));
    write([pod('a')]);
    clock.advance(10_000);
    assert.deepEqual(names(), ['a']);
  });

  it('keeps the last good state of a broken entry and follows the others', async () => {
    write([pod('a'), pod('b')]);
    open();
    await change(() => write([{ ...pod('a'), netns: 'nonsense' }, pod('c')]));
    assert.deepEqual(names(), ['c', 'a'], 'b is gone, c is new, a stays as it was');
    assert.equal(source?.state.pods.get('uid-a')?.netns, '/run/netns/a');
    assert.match(problem(), /"nonsense" is not allowed/);
    assert.equal(source?.state.complete, true);
    await change(() => write([pod('c')]));
    assert.deepEqual([names(), problem()], [['c'], '']);
  });

  it('keeps a pod by its name when its uid is what is broken', async () => {
    write([pod('a'), pod('b')]);
    open();
    await change(() => write([{ ...pod('a'), uid: 7 }]));
    assert.deepEqual(names(), ['a']);
  });

  it('takes no pod for removed while an entry cannot be told whose it is', async () => {
    write([pod('a'), pod('b')]);
    open();
    await change(() => write([pod('b'), 'scribble']));
    assert.deepEqual(names().sort(), ['a', 'b']);
  });

  it('says that it is incomplete while a broken entry was never known', () => {
    write([pod('a'), { ...pod('b'), ips: [] }]);
    open();
    assert.deepEqual([source?.state.synced, source?.state.complete, names()], [true, false, ['a']]);
  });

  it('does not read what is no regular file: a FIFO would block it', async () => {
    execFileSync('mkfifo', [file]);
    open();
    assert.deepEqual([source?.state.synced, problem()], [false, 'not a regular file']);
    await change(() => write([pod('a')]));
    assert.deepEqual([names(), problem()], [['a'], '']);
  });

  it('keeps everything while the file is broken or gone', async () => {
    write([pod('a')]);
    open();
    await change(() => write('{"pods": ['));
    assert.deepEqual(names(), ['a']);
    assert.match(problem(), /JSON/);
    await change(() => rmSync(file));
    assert.deepEqual(names(), ['a']);
    assert.match(problem(), /ENOENT/);
    await change(() => write([pod('a')]));
    assert.deepEqual([names(), problem()], [['a'], '']);
  });
});
