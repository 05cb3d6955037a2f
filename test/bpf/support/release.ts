import { release } from 'node:os';

/** Whether the kernel under test is of this release or newer: for what a test expects of the kernel itself, not of Loam. */
export function kernelSince(major: number, minor: number): boolean {
  const [here = 0, below = 0] = release().split('.').map(Number);
  return here > major || (here === major && below >= minor);
}
