import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { BpfError } from '../../../../../lib/linux/bpf/errors.ts';
import { kernelLacks, mayLoadPrograms, requireKernel } from '../../../../../lib/linux/bpf/kernel-check.ts';
import { KERNEL_FEATURES, type Probe } from '../../../../../lib/linux/bpf/kernel-features.ts';
import { kernelHas } from '../../../../../lib/linux/bpf/kernel-probe.ts';
import { packageRoot } from '../../../../../lib/package-root.ts';

/** Answers as a mainline kernel of that release would. The distribution has none that is too old; see the ring vm. */
function mainline(release: string): (probe: Probe) => boolean {
  const number = (text: string): number => {
    const [major = 0, minor = 0] = text.split('.').map(Number);
    return major * 1000 + minor;
  };
  return (probe) => {
    const feature = KERNEL_FEATURES.find((each) => each.probe === probe);
    assert.ok(feature);
    return number(feature.since) <= number(release);
  };
}

function refusalOf(release: string): string {
  try {
    requireKernel(mainline(release), release);
  } catch (error) {
    assert.ok(error instanceof BpfError && error.code === 'BPF_KERNEL');
    return error.message;
  }
  return '';
}

describe('kernel check', () => {
  it('finds on this kernel all that Loam needs, by trying', () => {
    assert.deepEqual(kernelLacks(), []);
  });

  it('finds what no kernel has missing', () => {
    assert.equal(kernelHas({ kind: 'program', type: 9999 }), false);
    assert.equal(kernelHas({ kind: 'map', type: 9999 }), false);
    assert.equal(
      kernelHas({ kind: 'hook', type: 18, attachType: 3 }),
      false,
      'sock_ops is no hook of sock_addr',
    );
    assert.equal(kernelHas({ kind: 'helper', type: 30, helper: 122 }), false, 'FINDINGS, change 5');
    assert.equal(kernelHas({ kind: 'helper', type: 18, helper: 9999 }), false);
  });

  it('refuses a kernel that is too old by name, with all that it lacks and no more', () => {
    assert.equal(refusalOf('5.19'), '');
    assert.equal(refusalOf('6.1'), '');
    const missing = (text: string): string[] =>
      [...text.matchAll(/missing: (.*?):/g)].map(([, what]) => what ?? '');
    assert.deepEqual(missing(refusalOf('5.15')), [
      'BPF helper bpf_set_retval in cgroup_sock_addr',
      'BPF helper bpf_skc_to_mptcp_sock in cgroup_sock_addr',
      'BPF helper bpf_get_current_task_btf in cgroup_sock_addr',
    ]);
    const debian11 = refusalOf('5.10');
    assert.match(debian11, /^kernel 5\.10 cannot run Loam\n/);
    assert.match(debian11, /bpf_set_retval .* mainline has it since 5\.18/);
    assert.deepEqual(missing(debian11), [
      'socket option SO_NETNS_COOKIE',
      ...missing(refusalOf('5.15')).slice(0, 3),
      'BPF helper bpf_get_netns_cookie in sock_ops',
    ]);
  });

  it('blames no kernel for what the process may not do', () => {
    const withBits = (...bits: bigint[]): string =>
      `CapPrm:\t0\nCapEff:\t${bits
        .reduce((all, bit) => all | (1n << bit), 0n)
        .toString(16)
        .padStart(16, '0')}\n`;
    assert.equal(mayLoadPrograms(withBits(21n)), true, 'SYS_ADMIN');
    assert.equal(mayLoadPrograms(withBits(12n, 38n, 39n)), true, 'NET_ADMIN, PERFMON and BPF');
    for (const bits of [[], [12n], [12n, 39n], [38n, 39n]])
      assert.equal(mayLoadPrograms(withBits(...bits)), false, bits.join());
    assert.throws(
      () =>
        requireKernel(
          () => false,
          '6.18',
          () => false,
        ),
      (error: BpfError) => error.code === 'BPF_CAPABILITY' && /capability SYS_ADMIN/.test(error.message),
    );
  });

  it('is what docs/kernels.md tells people, line by line', () => {
    const text = readFileSync(join(packageRoot(), 'docs', 'kernels.md'), 'utf8');
    for (const { what, since, why } of KERNEL_FEATURES)
      assert.ok(
        text.includes(`| ${what} | ${since} | ${why}`),
        `docs/kernels.md lacks: | ${what} | ${since} | ${why}`,
      );
  });
});
