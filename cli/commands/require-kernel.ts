import { kernelLacks } from '../../lib/linux/bpf/kernel-check.ts';
import { LoamError } from '../../lib/loam-error.ts';

/** The machine cannot run the mesh. */
export class KernelError extends LoamError<'KERNEL_LACKS'> {}

/**
 * To be called before a command touches the machine.
 *
 * @throws KernelError that names everything the kernel lacks, since which kernel it exists, and what to do
 */
export function requireKernel(): void {
  const lacks = kernelLacks();
  if (lacks.length === 0) return;
  const lines = lacks.map(
    ({ what, since, advice }) => `\n  missing: ${what}; exists since ${since}; ${advice}`,
  );
  throw new KernelError('KERNEL_LACKS', `this machine cannot run Loam${lines.join('')}`);
}
