import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Absences, CONFIRM_MS } from '../../../../controller/sources/absences.ts';
import { accept } from '../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import type { AcceptedObject } from '../../../../controller/sources/source.ts';

type Objects = ReadonlyMap<string, AcceptedObject>;

const CONTEXT = { rootNamespace: 'loam-system', trustDomain: 'cluster.local' };
const A = 'Namespace//a';
const B = 'Namespace//b';

/** One Namespace a file, of the same name. */
function objects(...names: readonly string[]): Objects {
  const files = names.map((name) => ({
    file: name,
    documents: readManifest(name, `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`),
  }));
  return accept(files, new Map(), CONTEXT).objects;
}

/** Follows a directory by looks at chosen times. */
class Bench {
  readonly #absences = new Absences();
  #held: Objects;

  constructor(...names: readonly string[]) {
    this.#held = objects(...names);
  }

  /** Returns what is in force after a look that found these, in files of these signatures. */
  look(
    atMs: number,
    names: readonly string[],
    signatures: Readonly<Record<string, string>> = {},
  ): readonly string[] {
    this.#held = this.#absences.withMissing(objects(...names), this.#held, (file) => signatures[file], atMs);
    assert.equal(this.#absences.size, this.#held.size - names.length);
    return [...this.#held.keys()];
  }
}

describe('sources/absences', () => {
  it('takes an object for deleted when it has been missing for long enough', () => {
    const bench = new Bench('a', 'b');
    assert.deepEqual(bench.look(1000, ['b']), [A, B]);
    assert.deepEqual(bench.look(1000 + CONFIRM_MS / 2, ['b']), [A, B]);
    assert.deepEqual(bench.look(1000 + CONFIRM_MS, ['b']), [B]);
  });

  it('counts each absence by itself, however often others are looked for', () => {
    const bench = new Bench('a', 'b');
    // Another file is written all the time; this one is empty for a moment, twice.
    for (let ms = 0; ms < 100; ms += 10) assert.deepEqual(bench.look(ms, ['b']), [A, B]);
    assert.deepEqual(bench.look(100, ['a', 'b']), [A, B]);
    for (let ms = 110; ms < 200; ms += 10) assert.deepEqual(bench.look(ms, ['b']), [A, B]);
    assert.deepEqual(bench.look(110 + CONFIRM_MS, ['b']), [B]);
  });

  it('counts anew for what went missing later', () => {
    const bench = new Bench('a', 'b');
    bench.look(0, ['b']);
    assert.deepEqual(bench.look(100, []), [A, B]);
    assert.deepEqual(bench.look(CONFIRM_MS, []), [B]);
    assert.deepEqual(bench.look(100 + CONFIRM_MS, []), []);
  });

  it('waits on while its file is still being written', () => {
    const bench = new Bench('a');
    assert.deepEqual(bench.look(0, [], { a: 'empty' }), [A]);
    assert.deepEqual(bench.look(140, [], { a: 'half' }), [A]);
    assert.deepEqual(bench.look(280, [], { a: 'half' }), [A]);
    assert.deepEqual(bench.look(140 + CONFIRM_MS, [], { a: 'half' }), []);
  });

  it('lets what is added count at once', () => {
    const bench = new Bench('a');
    assert.deepEqual(bench.look(0, ['b']), [A, B]);
  });
});
