import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FAKE_CA, harness, HARNESS_ENV, podsOf, prepareZtunnel, RUN_DIR } from '../test/interop/harness.ts';
import { LoamSides } from '../test/interop/loam-side.ts';
import { peersFolder } from '../cli/test-rings/rings.ts';

/**
 * Measures a direct connection, the Rust ztunnel and Loam's ztunnel side by side, with the peers' harness,
 * and prints its table of medians. The pairs take turns inside every phase, so that they are compared
 * under the same conditions; what counts are ratios within one run.
 *
 *   ./loam bench [--rounds 3] [--phases a,b,c,d] [--duration-s 10]
 */
const PAIRS = ['direct', 'ztunnel', 'loam'] as const;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    phases: { type: 'string', default: 'a,b,c,d' },
    'duration-s': { type: 'string', default: '10' },
  },
});

prepareZtunnel();
console.error(harness('prepare.sh', []).trim());
console.error(harness('setup.sh', [...PAIRS], { PLAIN: 'loam' }).trim());
const loam = new LoamSides({
  ...{ name: 'bench', pods: podsOf('loam'), serve: ['client', 'server'] },
  ...{ rootCert: FAKE_CA.cert, rootKey: FAKE_CA.key, firstPort: 25300, logLevel: 'warn' },
});
try {
  console.error(harness('run-ztunnel.sh', ['ztunnel'], { RUST_LOG: 'warn' }).trim());
  await loam.start();
  for (const side of ['client', 'server'] as const) {
    writeFileSync(join(RUN_DIR, 'loam', `proxy-${side}.pid`), `${loam.pid(`ztunnel-${side}`)}\n`);
  }
  const measured = spawnSync(
    'python3',
    [
      ...[join(peersFolder(), 'measure.py'), ...PAIRS, '--rounds', values.rounds],
      ...['--phases', values.phases, '--dur', values['duration-s'], '--table'],
    ],
    { stdio: 'inherit', env: HARNESS_ENV },
  );
  process.exitCode = measured.status ?? 1;
} finally {
  for (const side of ['client', 'server']) writeFileSync(join(RUN_DIR, 'loam', `proxy-${side}.pid`), '');
  await loam.stop();
  harness('teardown.sh', [...PAIRS]);
}
