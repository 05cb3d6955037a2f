/**
 * How much longer than on an ordinary machine a test may wait: `LOAM_TEST_PATIENCE`, a number of at least 1. An emulated
 * machine is some ten times as slow. Nothing is asserted about time either way: a wait only bounds how long a failure takes.
 */
export const PATIENCE = readPatience();

function readPatience(): number {
  const text = process.env['LOAM_TEST_PATIENCE'] ?? '1';
  const value = Number(text);
  if (value >= 1 && value <= 100) return value;
  throw new Error(
    `LOAM_TEST_PATIENCE: ${JSON.stringify(text)} is not allowed; allowed: a number from 1 to 100`,
  );
}
