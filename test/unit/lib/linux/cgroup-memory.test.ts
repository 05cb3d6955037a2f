import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { CgroupMemoryReader } from '../../../../lib/linux/cgroup-memory.ts';

const MB = 2 ** 20;

describe('memory of the cgroup', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-cgroup-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  function write(path: string, files: Readonly<Record<string, string>>): void {
    const folder = join(dir, path);
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  }

  /** What /proc/self would show. */
  function proc(cgroup: string, mounts: readonly string[]): CgroupMemoryReader {
    write('proc', { cgroup, mountinfo: mounts.join('\n') });
    return new CgroupMemoryReader(join(dir, 'proc'));
  }

  const v2 = (max: string, current: number, inactive: number): Readonly<Record<string, string>> => ({
    'memory.max': `${max}\n`,
    'memory.current': `${current * MB}\n`,
    'memory.stat': `anon 1\nfile 2\ninactive_file ${inactive * MB}\nactive_file 9\n`,
  });
  const v2Mount = (root: string): string =>
    `30 25 0:26 ${root} ${join(dir, 'fs')} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate`;

  it('is that of version 2, without the file cache that can go', () => {
    write('fs/pod/app', v2(String(100 * MB), 80, 30));
    write('fs/pod', v2('max', 90, 30));
    const reader = proc('0::/pod/app\n', [v2Mount('/')]);
    assert.deepEqual(reader.tightest(), { used: 50 * MB, limit: 100 * MB });
  });

  it('is that of a group above, where that is nearer to its limit', () => {
    write('fs/pod/app', v2(String(100 * MB), 50, 0));
    write('fs/pod', v2(String(120 * MB), 110, 10));
    assert.deepEqual(proc('0::/pod/app\n', [v2Mount('/')]).tightest(), { used: 100 * MB, limit: 120 * MB });
  });

  it('is not that of a group above that others fill', () => {
    write('fs/pods/mesh/app', v2(String(100 * MB), 40, 0));
    write('fs/pods/mesh', v2('max', 60, 0));
    write('fs/pods', v2(String(1000 * MB), 990, 0));
    const reader = proc('0::/pods/mesh/app\n', [v2Mount('/')]);
    assert.deepEqual(reader.tightest(), { used: 40 * MB, limit: 100 * MB });
    write('fs/pods/mesh/app', v2('max', 40, 0));
    assert.equal(reader.tightest(), undefined);
    write('fs/pods/mesh/app', v2('max', 500, 0));
    assert.deepEqual(reader.tightest(), { used: 990 * MB, limit: 1000 * MB }, 'its own doing');
  });

  it('is found in a container, which sees its own group as the root, with a namespace of cgroups or without', () => {
    write('fs', v2(String(100 * MB), 50, 0));
    const expected = { used: 50 * MB, limit: 100 * MB };
    assert.deepEqual(proc('0::/\n', [v2Mount('/')]).tightest(), expected);
    assert.deepEqual(proc('0::/kubepods/pod1/app\n', [v2Mount('/kubepods/pod1/app')]).tightest(), expected);
    assert.deepEqual(proc('0::/kubepods/pod1/app\n', [v2Mount('/../..')]).tightest(), expected);
  });

  it('is that of version 1, where that has the controller', () => {
    const files = {
      'memory.limit_in_bytes': `${200 * MB}\n`,
      'memory.usage_in_bytes': `${150 * MB}\n`,
      'memory.stat': `cache 1\ntotal_inactive_file ${50 * MB}\n`,
    };
    write('mem/a', files);
    write('mem', { ...files, 'memory.limit_in_bytes': '9223372036854771712\n' });
    const reader = proc('9:name=systemd:/\n4:cpu,memory:/a\n0::/\n', [
      v2Mount('/'),
      `31 25 0:27 / ${join(dir, 'mem')} rw - cgroup cgroup rw,cpu,memory`,
    ]);
    assert.deepEqual(reader.tightest(), { used: 100 * MB, limit: 200 * MB });
  });

  it('is nothing where there is no limit, no controller and no mount', () => {
    write('fs/a', v2('max', 50, 0));
    assert.equal(proc('0::/a\n', [v2Mount('/')]).tightest(), undefined);
    assert.equal(proc('0::/gone\n', [v2Mount('/')]).tightest(), undefined);
    assert.equal(proc('0::/a\n', []).tightest(), undefined);
    assert.equal(proc('', [v2Mount('/')]).tightest(), undefined);
  });

  it('follows a limit that changes', () => {
    write('fs/a', v2('max', 50, 0));
    const reader = proc('0::/a\n', [v2Mount('/')]);
    assert.equal(reader.tightest(), undefined);
    write('fs/a', v2(String(60 * MB), 50, 0));
    assert.deepEqual(reader.tightest(), { used: 50 * MB, limit: 60 * MB });
  });

  it('of this process is what its own machine says, if it says anything', () => {
    const found = new CgroupMemoryReader().tightest();
    const node = process.constrainedMemory() ?? 0;
    if (found === undefined) assert.ok(node === 0 || node > 2 ** 62, String(node));
    else assert.ok(found.used > 0 && found.used <= found.limit * 1.1, JSON.stringify(found));
  });
});
