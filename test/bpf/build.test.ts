import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { packageRoot } from '../../lib/package-root.ts';

const SCRIPT = join(packageRoot(), 'bpf', 'build.sh');

describe('bpf: the prebuilt objects', () => {
  let bin: string;

  beforeEach(() => {
    bin = mkdtempSync(join(tmpdir(), 'lbt-'));
    for (const tool of ['sh', 'sed', 'dirname', 'mktemp', 'rm', 'cmp'])
      symlinkSync(`/usr/bin/${tool}`, join(bin, tool));
  });
  afterEach(() => rmSync(bin, { recursive: true }));

  function stub(name: string, script: string): void {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }

  function check(): { status: number | null; stderr: string } {
    return spawnSync('/bin/sh', [SCRIPT, '--check'], { env: { PATH: bin }, encoding: 'utf8' });
  }

  it('cannot be compared without the compiler, which has an error of its own', () => {
    const { status, stderr } = check();
    assert.equal(status, 3);
    assert.match(stderr, /BPF_COMPILER_MISSING.*clang-19/);
  });

  it('cannot be compared with another compiler, which has an error of its own', () => {
    stub('clang-19', 'echo "Debian clang version 19.9.9 (1)"');
    stub('llvm-strip-19', 'exit 0');
    const { status, stderr } = check();
    // Where libbpf's headers are not installed either, that is said first.
    if (status === 3) assert.match(stderr, /bpf_helpers\.h/);
    else {
      assert.equal(status, 4);
      assert.match(stderr, /BPF_COMPILER_OTHER.*19\.9\.9.*made with "Debian clang version 19\.1\.7/);
    }
  });

  it('hold no path of the machine that built them, and BTF but no DWARF', () => {
    const folder = join(packageRoot(), 'bpf');
    const objects = readdirSync(folder).filter((name) => name.endsWith('.bpf.o'));
    assert.deepEqual(objects.sort(), ['guard.bpf.o', 'observe.bpf.o', 'redirect.bpf.o', 'sk_lookup.bpf.o']);
    for (const name of objects) {
      const text = readFileSync(join(folder, name), 'latin1');
      assert.doesNotMatch(text, /\/(home|work|root|tmp|builds)\//);
      assert.match(text, /\.BTF/);
      assert.doesNotMatch(text, /\.debug_info/);
      assert.match(text, /Dual BSD\/GPL/);
    }
  });
});
