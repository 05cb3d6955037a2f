import { Command } from 'commander';
import { DEFAULT_RINGS, RINGS } from '../test-rings/rings.ts';
import { missingTestFiles, runRing } from '../test-rings/run.ts';
import { addTallies, NO_TESTS } from '../test-rings/tally.ts';
import { complain, say } from '../output/say.ts';
import { helpText } from './mesh-options.ts';

/** `loam test`: runs rings of tests and ends with the line `N passed, N failed`. */
export function testCommand(): Command {
  const names = RINGS.map((ring) => ring.name);
  return new Command('test')
    .description('run the tests, ring by ring')
    .argument(
      '[ring-or-file...]',
      `rings (${names.join(', ')}), or test files; default: ${DEFAULT_RINGS.join(' ')}`,
    )
    .option(
      '--also <ring>',
      'run this ring after the others; may be repeated',
      (ring, list: string[]) => [...list, ring],
      [] as string[],
    )
    .option('-g, --grep <text>', 'only tests whose name contains the text')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam test', 'all that the clone alone can show'],
          ['loam test unit -g half-close', ''],
          ['loam test test/mesh/docs.test.ts', 'one file'],
        ],
        '0 all passed, 1 one did not, or there was none, 2 what was given is not usable',
      ),
    )
    .action(async (args: string[], options: { also: string[]; grep?: string }) => {
      const files = args.filter((arg) => arg.endsWith('.test.ts'));
      const ringsOfFiles = files.map((file) => file.replace(/^(\.\/)?test\//, '').split('/')[0] ?? '');
      const named = args.filter((arg) => !arg.endsWith('.test.ts'));
      const wanted = new Set([
        ...(named.length + files.length === 0 ? DEFAULT_RINGS : [...named, ...ringsOfFiles]),
        ...options.also,
      ]);
      for (const name of wanted) {
        if (!names.includes(name)) {
          complain(`loam test: there is no ring ${JSON.stringify(name)}; allowed: ${names.join(', ')}`);
          process.exitCode = 2;
          return;
        }
      }
      const missing = missingTestFiles(files);
      if (missing.length > 0) {
        complain(
          `loam test: no such test file: ${missing.join(', ')} (give it from the root of the clone, as test/unit/…)`,
        );
        process.exitCode = 2;
        return;
      }
      const grep = options.grep === undefined ? [] : ['--grep', options.grep];
      let tally = NO_TESTS;
      for (const ring of RINGS) {
        if (!wanted.has(ring.name)) continue;
        const own = files.filter((file) => file.replace(/^(\.\/)?test\//, '').startsWith(`${ring.name}/`));
        tally = addTallies(
          tally,
          await runRing(ring, [...grep, ...own.map((file) => file.replace(/^\.\//, ''))]),
        );
      }
      // What failed stood far above, and who keeps only the end of a long output would not see it.
      for (const text of tally.failures ?? []) say(`\n== failed in ${text}`);
      say(`\n${tally.passed} passed, ${tally.failed} failed`);
      process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
    });
}
