/** Ways to attach a guard that the kernel under test has: clsact always, tcx from 6.6 on (a test holds it to that). */
import type { GuardMethod } from '../../../lib/linux/bpf/index.ts';
import { hasTcx } from '../../../lib/linux/bpf/tcx.ts';

export const KERNEL_METHODS: readonly GuardMethod[] = hasTcx() ? ['tcx', 'clsact'] : ['clsact'];
