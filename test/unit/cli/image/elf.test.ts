import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { elfNeeds } from '../../../../cli/image/elf.ts';
import { librariesOf } from '../../../../cli/image/libraries.ts';
import { elfFile } from './elf-file.ts';

describe('an ELF file', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-elf-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it('tells its processor, its loader and the libraries that it needs', () => {
    const needs = elfNeeds(process.execPath);
    assert.equal(needs.architecture, process.arch === 'arm64' ? 'arm64' : 'amd64');
    assert.match(needs.interpreter ?? '', /\/ld-linux-/);
    assert.ok(needs.libraries.includes('libc.so.6'));
  });

  it('of another processor is read as well', () => {
    const path = join(dir, 'program');
    writeFileSync(
      path,
      elfFile({ machine: 183, interpreter: '/lib/ld-linux-aarch64.so.1', needed: ['a.so', 'b.so'] }),
    );
    assert.deepEqual(elfNeeds(path), {
      architecture: 'arm64',
      interpreter: '/lib/ld-linux-aarch64.so.1',
      libraries: ['a.so', 'b.so'],
    });
  });

  it('that is none, or is cut, is refused by name', () => {
    const path = join(dir, 'program');
    const whole = elfFile({ machine: 62, needed: ['a.so'] });
    for (const [content, said] of [
      [Buffer.alloc(64), /is no ELF file/],
      [whole.subarray(0, 20), /ends too early/],
      [whole.subarray(0, whole.length - 3), /ends too early/],
      [elfFile({ machine: 3, needed: [] }), /for a processor that no image is made for/],
    ] as const) {
      writeFileSync(path, content);
      assert.throws(() => elfNeeds(path), { code: 'IMAGE_FILE', message: said });
    }
  });

  it('whose library is missing is refused with who needs it', () => {
    const path = join(dir, 'program');
    writeFileSync(path, elfFile({ machine: 62, needed: ['libnowhere.so.7'] }));
    assert.throws(() => librariesOf([path], [], dir, 'amd64'), {
      code: 'IMAGE_FILE',
      message: /libnowhere\.so\.7, needed by .*program, is not in/,
    });
    assert.throws(() => librariesOf([path], [], dir, 'arm64'), {
      message: /is for amd64, the image for arm64/,
    });
  });
});
