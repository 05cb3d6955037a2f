/**
 * Fuzzes one target in a process of its own: `main.ts NAME --seed N [--seconds N | --executions N] [--write]`. Writes one
 * line of JSON, a {@link TargetReport}. The input under way stands in a buffer that the parent can read when this
 * process does not come back from it.
 */
import { openSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FIXTURES } from '../fixtures/index.ts';
import { TARGETS } from '../targets/index.ts';
import type { FuzzTarget } from './target.ts';
import { Coverage } from './coverage.ts';
import { knownInputs, writeCorpus } from './corpus.ts';
import { Fuzzer } from './fuzzer.ts';
import type { TargetReport } from './run-target.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string' },
    executions: { type: 'string' },
    write: { type: 'boolean', default: false },
    current: { type: 'string' },
  },
});
const [name = ''] = positionals;
const all: Readonly<Record<string, () => Promise<{ target: FuzzTarget }>>> = { ...TARGETS, ...FIXTURES };
const load = all[name];
if (load === undefined)
  throw new Error(`there is no target ${name}; allowed: ${Object.keys(all).join(', ')}`);
const coverage = new Coverage();
const { target } = await load();
const current = values.current === undefined ? undefined : openSync(values.current, 'w');
const fuzzer = new Fuzzer(target, coverage, Number(values.seed), (input) => {
  if (current === undefined) return;
  writeSync(current, Buffer.concat([lengthOf(input), input]), 0, undefined, 0);
});
const report = await fuzzer.run(knownInputs(target), {
  ...(values.seconds !== undefined && { ms: Number(values.seconds) * 1_000 }),
  ...(values.executions !== undefined && { executions: Number(values.executions) }),
});
if (values.write && report.findings.length === 0) writeCorpus(name, report.corpus);
const { corpus, findings, ...rest } = report;
const line: TargetReport = {
  name,
  ...rest,
  corpus: corpus.length,
  findings: findings.map(({ input, error }) => ({ input: input.toString('latin1'), error })),
};
process.stdout.write(`${JSON.stringify(line)}\n`);
process.exit(0);

function lengthOf(input: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(input.length);
  return length;
}
