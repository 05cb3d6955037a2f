import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { KERNEL_FEATURES, PROGRAM_TYPES } from '../../lib/linux/bpf/kernel-features.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { callsOf } from '../support/bpf-object.ts';

/** Of the first release that had program types at all, or of one long before the others: not worth a line of the table. */
const SINCE_4_1 = new Map([
  [1, 'bpf_map_lookup_elem'],
  [2, 'bpf_map_update_elem'],
  [3, 'bpf_map_delete_elem'],
  [5, 'bpf_ktime_get_ns'],
  [7, 'bpf_get_prandom_u32'],
]);

function typeOf(section: string): number | undefined {
  if (section.startsWith('cgroup/')) return PROGRAM_TYPES.sockAddr;
  if (section === 'tc') return PROGRAM_TYPES.schedCls;
  if (section === 'sockops') return PROGRAM_TYPES.sockOps;
  if (section === 'sk_lookup') return PROGRAM_TYPES.skLookup;
  return undefined;
}

describe('bpf: what the kernel must have', () => {
  const folder = join(packageRoot(), 'bpf');
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.bpf.o')))
    it(`names every helper that ${file} calls`, () => {
      const calls = callsOf(join(folder, file));
      assert.ok(calls.length > 0);
      const unnamed = calls.filter(({ section, kind, helper }) => {
        if (kind === 'program') return false;
        if (kind === 'kernel-function') return true;
        if (SINCE_4_1.has(helper)) return false;
        return !KERNEL_FEATURES.some(
          ({ probe }) => probe.kind === 'helper' && probe.helper === helper && probe.type === typeOf(section),
        );
      });
      assert.deepEqual(unnamed, [], 'to be added to lib/linux/bpf/kernel-features.ts and docs/kernels.md');
    });
});
