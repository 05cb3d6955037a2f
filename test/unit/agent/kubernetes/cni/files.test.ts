import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { install, removeEntry, removeProgram } from '../../../../../agent/kubernetes/cni/files.ts';
import { PluginKeeper, type CniMode } from '../../../../../agent/kubernetes/cni/plugin-keeper.ts';
import { FakeClock } from '../../fakes.ts';

const NETWORK = { type: 'ptp', ipam: { type: 'host-local' } };
const LIST = { cniVersion: '1.0.0', name: 'cluster', plugins: [NETWORK, { type: 'portmap' }] };

describe('the network plugin on the host', () => {
  let folder: string;
  let folders: { conf: string; bin: string };
  let entry: { socket: string; outside: string; exempt: string[] };
  let program: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-cni-'));
    folders = { conf: join(folder, 'conf'), bin: join(folder, 'bin') };
    entry = { socket: '/run/x.sock', outside: join(folder, 'outside'), exempt: ['kube-system'] };
    program = join(folder, 'program');
    for (const each of Object.values(folders)) mkdirSync(each);
    writeFileSync(program, 'a program');
    writeFileSync(join(folders.conf, '10-cluster.conflist'), JSON.stringify(LIST), { mode: 0o640 });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const read = (name = '10-cluster.conflist'): { plugins: { type: string }[] } =>
    JSON.parse(readFileSync(join(folders.conf, name), 'utf8')) as { plugins: { type: string }[] };
  const types = (name?: string): string[] => read(name).plugins.map(({ type }) => type);

  it('comes last in the list that the runtime uses, with its program, and changes nothing else', () => {
    writeFileSync(join(folders.conf, '20-other.conflist'), JSON.stringify(LIST));
    writeFileSync(join(folders.conf, '05-notes.txt'), 'no list');
    const list = join(folders.conf, '10-cluster.conflist');
    assert.deepEqual(install(folders, entry, program), { list, changed: true });
    assert.deepEqual(read(), { ...LIST, plugins: [...LIST.plugins, { type: 'loam-cni', ...entry }] });
    assert.deepEqual(types('20-other.conflist'), ['ptp', 'portmap']);
    assert.equal(statSync(list).mode & 0o777, 0o640);
    assert.equal(statSync(join(folders.bin, 'loam-cni')).mode & 0o777, 0o755);
    assert.deepEqual(install(folders, entry, program), { list, changed: false });
    assert.deepEqual(readdirSync(folders.bin), ['loam-cni'], 'nothing half is left');
  });

  it('is renewed when its settings or its program are others', () => {
    install(folders, entry, program);
    writeFileSync(program, 'another program');
    install(folders, { ...entry, exempt: [] }, program);
    assert.deepEqual(read().plugins.at(-1), { type: 'loam-cni', ...entry, exempt: [] });
    assert.deepEqual(types(), ['ptp', 'portmap', 'loam-cni']);
    assert.equal(readFileSync(join(folders.bin, 'loam-cni'), 'utf8'), 'another program');
  });

  it('goes without a trace', () => {
    const before = read();
    install(folders, entry, program);
    assert.equal(removeEntry(folders), true);
    assert.ok(existsSync(join(folders.bin, 'loam-cni')), 'the program outlives the entry');
    removeProgram(folders);
    assert.deepEqual(read(), before);
    assert.deepEqual(readdirSync(folders.bin), []);
    assert.equal(removeEntry(folders), false);
  });

  it('says what it cannot be added to, and changes nothing', () => {
    const list = join(folders.conf, '10-cluster.conflist');
    for (const [text, said] of [
      ['{"type":"bridge"}', /10-cluster\.conflist cannot be used.*no list of plugins/s],
      ['{', /10-cluster\.conflist cannot be used/],
    ] as const) {
      writeFileSync(list, text);
      assert.throws(
        () => install(folders, entry, program),
        (error: Error) => said.test(`${error.message}: ${String(error.cause)}`),
      );
      assert.equal(readFileSync(list, 'utf8'), text);
      assert.equal(removeEntry(folders), false);
    }
    rmSync(list);
    assert.throws(() => install(folders, entry, program), /has no list of plugins yet/);
  });

  function keeper(mode: CniMode, outside?: () => string[]): [PluginKeeper, FakeClock] {
    const clock = new FakeClock();
    const log = {
      info: () => undefined,
      error: () => undefined,
      warn: () => undefined,
      debug: () => undefined,
    };
    const kept = new PluginKeeper({
      mode,
      folders,
      entry,
      outside: outside ?? (() => undefined),
      clock,
      log: log as never,
      program,
    });
    kept.start();
    return [kept, clock];
  }

  it('comes, and again when another plugin writes its list anew, and stays when the agent ends', () => {
    const [kept, clock] = keeper('auto');
    assert.equal(kept.state.state, 'installed');
    assert.equal(types().at(-1), 'loam-cni');
    writeFileSync(join(folders.conf, '10-cluster.conflist'), JSON.stringify(LIST));
    clock.advance(2_000);
    assert.equal(types().at(-1), 'loam-cni');
    kept.close();
    assert.equal(types().at(-1), 'loam-cni', 'it holds pods while no agent runs');
  });

  it('goes where it is not wanted any more, the entry before the program', () => {
    install(folders, entry, program);
    const [kept, clock] = keeper('never');
    assert.equal(kept.state.state, 'absent');
    assert.deepEqual(types(), ['ptp', 'portmap']);
    assert.deepEqual(readdirSync(folders.bin), ['loam-cni']);
    clock.advance(3_000);
    assert.deepEqual(readdirSync(folders.bin), []);
  });

  it('goes on where word of the namespaces outside cannot be left, and leaves no old one', () => {
    writeFileSync(entry.outside, 'shop\n');
    // In the place of a full disk.
    mkdirSync(`${entry.outside}.new`);
    const [kept, clock] = keeper('auto', () => ['plain']);
    assert.equal(kept.state.state, 'failed');
    assert.equal(types().at(-1), 'loam-cni');
    assert.equal(existsSync(entry.outside), false);
    rmSync(`${entry.outside}.new`, { recursive: true });
    clock.advance(2_000);
    assert.equal(kept.state.state, 'installed');
    assert.equal(readFileSync(entry.outside, 'utf8'), 'plain\n');
  });

  it('leaves no word of a former agent where all namespaces have joined', () => {
    writeFileSync(entry.outside, 'shop\n');
    keeper('auto', () => []);
    assert.equal(readFileSync(entry.outside, 'utf8'), '');
  });

  it('stays always, or comes never, as is asked for', () => {
    const [always] = keeper('always');
    assert.equal(always.state.state, 'installed');
    const [never] = keeper('never');
    assert.equal(never.state.state, 'absent');
    assert.deepEqual(types(), ['ptp', 'portmap']);
  });

  it('tells what is wrong with the list, and goes on looking', () => {
    const list = join(folders.conf, '10-cluster.conflist');
    rmSync(list);
    const [kept, clock] = keeper('always');
    assert.equal(kept.state.state, 'failed');
    writeFileSync(list, JSON.stringify(LIST));
    clock.advance(2_000);
    assert.equal(kept.state.state, 'installed');
  });

  it('leaves on the node which namespaces are not in the mesh', () => {
    let outside = ['b', 'a'];
    const [, clock] = keeper('always', () => outside);
    assert.equal(readFileSync(entry.outside, 'utf8'), 'a\nb\n');
    outside = ['b'];
    clock.advance(2_000);
    assert.equal(readFileSync(entry.outside, 'utf8'), 'b\n');
  });
});
