import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import {
  decodeGuardDrops,
  encodeGuard,
  GUARD_BYTES,
  GUARD_DROPS_BYTES,
  GUARD_REASONS,
  GUARD_SOURCES,
} from '../../../../../lib/linux/bpf/guard-layout.ts';
import { buffer } from '../../../../../lib/linux/bpf/layout.ts';
import { packageRoot } from '../../../../../lib/package-root.ts';

describe('layout of what the guard and user space share', () => {
  const header = readFileSync(join(packageRoot(), 'bpf', 'guard.h'), 'utf8');

  it('names the reasons in the order of bpf/guard.h', () => {
    const body = /enum guard_reason \{([^}]*)\}/.exec(header)?.[1] ?? '';
    const names = [...body.replace(/\/\*.*?\*\//g, '').matchAll(/\bGUARD_([A-Z]+),/g)].map(([, name = '']) =>
      name.toLowerCase(),
    );
    assert.deepEqual([...GUARD_REASONS, 'reasons'], names);
    assert.match(header, new RegExp(`#define GUARD_SOURCES ${GUARD_SOURCES}\n`));
  });

  it("writes a pod's addresses, IPv4 mapped, and how many", () => {
    const out = encodeGuard(['192.0.2.1', '2001:db8::1']);
    assert.equal(out.length, GUARD_BYTES);
    assert.equal(out.toString('hex', 0, 16), '00000000000000000000ffffc0000201');
    assert.equal(out.toString('hex', 16, 32), '20010db8000000000000000000000001');
    assert.equal(out.readUInt32LE(64), 2);
  });

  it('refuses what is no address, and more than there is room for', () => {
    assert.throws(() => encodeGuard(['pod']), /"pod" is not an IP address/);
    assert.throws(() => encodeGuard(['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4', '1.1.1.5']), /allowed: 4/);
  });

  it('reads the counts', () => {
    const bytes = buffer(GUARD_DROPS_BYTES);
    bytes.writeBigUInt64LE(7n, 8);
    assert.equal(decodeGuardDrops(bytes).syn, 7);
  });
});
