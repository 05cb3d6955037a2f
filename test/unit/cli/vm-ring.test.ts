import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { guestTally } from '../../../cli/test-rings/vm/ring.ts';
import { readResult } from '../../../cli/test-rings/vm/qemu.ts';

const WHOLE =
  'loam-vm: begin on kernel 6.1.0-56-amd64\r\n  2 passing\r\n\r\n2 passed, 0 failed\r\nloam-vm: exit code 0\r\n';

describe('loam test vm: what a virtual machine is believed', () => {
  it('is what its command said last, and the kernel that it ran on', () => {
    const { kernel, output, exitCode } = readResult(WHOLE);
    assert.equal(kernel, '6.1.0-56-amd64');
    assert.deepEqual(guestTally(output, exitCode), { passed: 2, failed: 0 });
  });

  it('is a failure where it died, was switched off, or contradicts itself', () => {
    const died = readResult('loam-vm: begin on kernel 6.1.0-56-amd64\r\n    ✔ a test\r\n');
    assert.equal(died.exitCode, undefined);
    assert.deepEqual(guestTally(died.output, died.exitCode), { passed: 0, failed: 1 });
    assert.deepEqual(guestTally('2 passed, 0 failed\n', undefined), { passed: 2, failed: 1 });
    assert.deepEqual(guestTally('2 passed, 0 failed\n', 1), { passed: 2, failed: 1 });
    assert.deepEqual(guestTally('1 passed, 1 failed\n', 1), { passed: 1, failed: 1 });
  });
});
