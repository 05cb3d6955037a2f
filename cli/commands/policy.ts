import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { errorText } from '../../lib/loam-error.ts';
import type { FlowEvent } from '../../lib/flow/event.ts';
import { openConnections } from '../look/connections.ts';
import { secondsOf, untilEnded } from '../live/until.ts';
import { isMainWord } from '../live/event-text.ts';
import { MeshError } from '../mesh/errors.ts';
import { coloursFor, type Colours } from '../output/colours.ts';
import { print, withOutput, type OutputFlag } from '../output/print.ts';
import { complain } from '../output/say.ts';
import { tableLines } from '../output/table.ts';
import { countText } from '../output/words.ts';
import { FILE_FORM, readExpectations, verifyAll, type Verified } from '../policy/expectations.ts';
import { preview, type Change, type Preview } from '../policy/preview.ts';
import { SeenFlows } from '../policy/seen-flows.ts';
import { readObjectKey, type Proposal } from '../policy/proposal.ts';
import { worldWith } from '../policy/trial-world.ts';
import { World } from '../why/world.ts';
import { follow } from './live.ts';
import {
  EXIT_NO,
  helpText,
  inNamespace,
  onMesh,
  openMesh,
  wordIn,
  type MeshOptions,
} from './mesh-options.ts';

type Flags = MeshOptions & OutputFlag;

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** `loam policy`: policies tried before they count. */
export function policyCommand(): Command {
  return new Command('policy')
    .description('try policies: against what is expected, and against what was seen')
    .addCommand(testCommand())
    .addCommand(previewCommand());
}

function testCommand(): Command {
  return withOutput(inNamespace(onMesh(new Command('test'))))
    .description('whether the mesh decides as a file expects, for CI; opens no connection')
    .argument('<file>', 'expectations, as YAML')
    .option('--with <manifest>', 'as if this were in force too; may be given again', collect, [])
    .option('--without <object>', 'as if KIND/NAMESPACE/NAME were not there; may be given again', collect, [])
    .addHelpText(
      'after',
      helpText(
        [
          ['loam policy test expected.yaml', ''],
          ['loam policy test expected.yaml --with new-policy.yaml', 'before it is applied'],
          ['loam policy test expected.yaml -o json', 'for scripts'],
        ],
        `0 all hold, ${EXIT_NO} one does not, 2 the file or a name in it is not usable, 1 it cannot be told`,
        `The file:\n${FILE_FORM.replaceAll(/^/gm, '  ')}`,
      ),
    )
    .action(test);
}

interface ProposalFlags {
  readonly with: readonly string[];
  readonly without: readonly string[];
}

async function test(file: string, flags: Flags & ProposalFlags): Promise<void> {
  const expectations = readExpectations(file, textOf(file)).map((expectation) => ({
    ...expectation,
    from: wordIn(flags, expectation.from),
    to: wordIn(flags, expectation.to),
  }));
  const reader = await openMesh(
    flags,
    expectations.flatMap(({ from, to }) => [from, to]),
  );
  const present = await World.read(reader);
  const proposal = { files: flags.with, without: flags.without.map(readObjectKey) };
  const isChanged = proposal.files.length + proposal.without.length > 0;
  const world = isChanged ? await worldWith(reader, present, proposal, flags.namespace) : present;
  const results = await verifyAll(world, expectations);
  const failed = results.filter(({ holds }) => !holds).length;
  await print(flags.output, { good: failed === 0, results }, () =>
    testLines(results, failed, coloursFor(process.stdout)),
  );
  process.exitCode = failed === 0 ? 0 : EXIT_NO;
}

function testLines(results: readonly Verified[], failed: number, { good, bad, bold }: Colours): string[] {
  const rows = results.map(({ expectation: { name, request, expect }, problem }) => [
    problem === undefined ? good('✓') : bad('✗'),
    `${name}${request === undefined ? '' : ` ${request.method} ${request.path}`}`,
    expect,
    problem === undefined ? '' : bad(problem),
  ]);
  const sum = `${countText(results.length, 'expectation')}, ${failed === 0 ? 'all hold' : `${failed} not met`}`;
  return [...tableLines(rows), '', bold(sum)];
}

interface PreviewFlags extends Flags, ProposalFlags {
  readonly for: string;
  readonly flows?: string;
}

function previewCommand(): Command {
  return withOutput(inNamespace(onMesh(new Command('preview'))))
    .description('what a proposed policy would have cut of the calls that are seen; changes nothing')
    .argument('[manifests...]', 'what is proposed: new objects, or others in place of those of the same name')
    .option('--without <object>', 'propose to remove KIND/NAMESPACE/NAME; may be given again', collect, [])
    .option('--for <seconds>', 'how long to look at the mesh; what is open counts too', '30')
    .option('--flows <file>', 'in place of looking: calls that loam tap -o json wrote')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam policy preview only-backend.yaml', 'look for half a minute, and compare'],
          ['loam tap -o json --for 3600 > flows.jsonl', 'an hour of calls,'],
          ['loam policy preview only-backend.yaml --flows flows.jsonl', 'to compare with any proposal'],
          ['loam policy preview --without AuthorizationPolicy/shop/db', 'what a policy holds back'],
        ],
        `0 nothing that was seen would be cut, ${EXIT_NO} something would, 2 what is proposed is not usable, 1 it cannot be told`,
        'A controller of its own, on this machine, compiles the proposal with the manifests of the mesh, or with the objects of the cluster, of\nwhich you must be allowed to list all that it reads. The mesh stays as it is. Calls that nobody made in that time are not seen: what is\ncut besides them, loam policy test can ask.',
      ),
    )
    .action(runPreview);
}

async function runPreview(files: readonly string[], flags: PreviewFlags): Promise<void> {
  const proposal: Proposal = { files, without: flags.without.map(readObjectKey) };
  if (proposal.files.length + proposal.without.length === 0)
    throw new MeshError('MESH_INPUT', 'give a manifest that is proposed, or --without an object');
  const ms = secondsOf('--for', flags.for);
  const recorded = flags.flows === undefined ? undefined : readFlows(flags.flows);
  const reader = await openMesh(flags);
  const present = await World.read(reader);
  const proposed = await worldWith(reader, present, proposal, flags.namespace);
  const [node = ''] = present.inventory.nodes;
  const state = await present.node(node);
  const seen = new SeenFlows(present.inventory, 'absent' in state ? undefined : state);
  if (recorded !== undefined) for (const event of recorded) seen.addEvent(event);
  else {
    if (flags.output === 'text') complain(`loam: looking at ${reader.name} for ${ms / 1000} s`);
    const { connections } = await openConnections(reader, present.inventory, { direction: 'outbound' });
    for (const connection of connections) seen.addConnection(connection);
    await follow(reader, untilEnded(ms), true, (event) => {
      if (isMainWord(event) && event.kind !== 'ended') seen.addEvent(event);
      else if (event.kind === 'ended' && !event.opened) seen.addEvent(event);
    });
  }
  const result = await preview(present, proposed, seen.all, seen.leftOut);
  await print(flags.output, result, () => previewLines(result, coloursFor(process.stdout)));
  process.exitCode = result.cut.length === 0 ? 0 : EXIT_NO;
}

function readFlows(file: string): FlowEvent[] {
  return textOf(file)
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, i) => {
      try {
        const event = JSON.parse(line) as Partial<FlowEvent>;
        if (event.source !== undefined && event.destination !== undefined) return event as FlowEvent;
      } catch {
        // Said below.
      }
      throw new MeshError(
        'MESH_INPUT',
        `${file}, line ${i + 1} is no flow; allowed: lines that loam tap -o json wrote`,
      );
    });
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new MeshError('MESH_INPUT', `${file} cannot be read: ${errorText(error)}`);
  }
}

function previewLines({ flows, calls, leftOut, cut, opened }: Preview, colours: Colours): string[] {
  const { bad, good, bold, dim } = colours;
  const rows = (changes: readonly Change[]): string[] =>
    tableLines(
      changes.map(({ from, to, request = '', times, endpoint, policy, reason }) => [
        from,
        `${to}${request === '' ? '' : ` ${request}`}${endpoint === undefined ? '' : dim(` (${endpoint})`)}`,
        `${times}×`,
        [policy === undefined ? '' : `by ${policy}`, reason ?? ''].filter((part) => part !== '').join(': '),
      ]),
      [2],
      '  ',
    );
  return [
    bold(`${countText(calls, 'call')} of ${countText(flows, 'kind')} compared`),
    ...(leftOut > 0 ? [dim(`${leftOut} left out: of no pod that the mesh knows, or too many kinds`)] : []),
    ...(cut.length === 0
      ? ['', good('Nothing that was seen would be cut.')]
      : ['', bad('WOULD BE CUT'), ...rows(cut)]),
    ...(opened.length === 0 ? [] : ['', good('WOULD BE ALLOWED'), ...rows(opened)]),
  ];
}
