import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { cgroup2Root, mounts } from '../../../../../lib/linux/bpf/cgroup.ts';
import { spreadBeside } from '../../../../../lib/linux/bpf/port-spread.ts';

function withTable<T>(text: string, body: (path: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'loam-mounts-'));
  try {
    writeFileSync(join(dir, 'mounts'), text);
    return body(join(dir, 'mounts'));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe('where to attach', () => {
  it('is the cgroup v2 mount, alone or beside v1', () => {
    const unified = 'proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n';
    assert.equal(withTable(unified, cgroup2Root), '/sys/fs/cgroup');
    const hybrid =
      'cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
    assert.equal(withTable(hybrid, cgroup2Root), '/sys/fs/cgroup/unified');
    const v1 = 'cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n';
    assert.throws(() => withTable(v1, cgroup2Root), /no cgroup v2 hierarchy is mounted/);
  });

  it('understands the escapes of the mount table', () => {
    const table = withTable('none /mnt/a\\040b\\134c bpf rw 0 0\n\n', mounts);
    assert.deepEqual(table, [{ source: 'none', path: '/mnt/a b\\c', type: 'bpf' }]);
  });
});

describe('spread of destination ports', () => {
  it('lies above the source ports by default', () => {
    assert.deepEqual(spreadBeside(32768, 60999), { low: 61000, count: 4536 });
  });

  it('never meets a source port unless all are, nor a port of the mesh', () => {
    const port = fc.integer({ min: 1, max: 65535 });
    fc.assert(
      fc.property(port, port, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const spread = spreadBeside(low, high);
        const last = spread.low + spread.count - 1;
        assert.ok(spread.count > 0 && spread.low >= 1 && last <= 65535);
        assert.ok(last < 15000 || spread.low > 15099);
        const free = [Math.max(0, 65535 - high), low - 1].some((count) => count > 2200);
        if (free) assert.ok(last < low || spread.low > high);
      }),
    );
  });
});
