/** Commands that look at flows as they happen: `tap`, `top`, `graph`. */
import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import type { FlowEvent } from '../../lib/flow/event.ts';
import { dotLines, edgeLines, edgesIn, mermaidLines, SORTS, sortedEdges, type Sort } from '../live/edges.ts';
import { eventLine, isMainWord } from '../live/event-text.ts';
import { countOf, secondsOf, untilEnded, whenAborted } from '../live/until.ts';
import { tellUnknownNames } from '../live/known-names.ts';
import type { MeshReader } from '../mesh/reader.ts';
import { FlowFeed } from '../observe/feed.ts';
import { passesFilter, type FlowFilter } from '../observe/flow-filter.ts';
import { Observatory } from '../observe/observatory.ts';
import { coloursFor } from '../output/colours.ts';
import { printableJson, printableLine } from '../output/printable.ts';
import { FORMATS, print, withOutput, write, type Format, type OutputFlag } from '../output/print.ts';
import { complain } from '../output/say.ts';
import { helpText, onMesh, openMesh, type MeshOptions } from './mesh-options.ts';

const REFRESH_MS = 2_000;
const CLEAR = '\u001b[H\u001b[2J';
const LIVE_EXITS =
  '0 it was ended, or the time was over, 1 the mesh cannot be asked, 2 what was given is not usable';

function withFilter(command: Command): Command {
  return command
    .option('--from <party>', 'caller: a namespace, or NAMESPACE/NAME of pod, application or account')
    .option('--to <party>', 'called: the same, or a Service')
    .option('-n, --namespace <name>', 'at either end')
    .addOption(
      new Option('--verdict <which>', 'notable: denied, failed or on trial').choices([
        'allowed',
        'denied',
        'notable',
      ]),
    )
    .option('--method <name>', 'of requests')
    .option('--path <prefix>', 'of requests')
    .option('--status <code>', 'of requests: 404, or 5xx')
    .option('--policy <name>', 'NAMESPACE/NAME that allowed, denied, or would have')
    .option('--text <text>', 'anywhere in it');
}

interface TapFlags extends MeshOptions, OutputFlag, FlowFilter {
  readonly count?: string;
  readonly for?: string;
  readonly bothEnds?: boolean;
}

/** `loam tap`: connections and requests as they happen. */
export function tapCommand(): Command {
  return withFilter(withOutput(onMesh(new Command('tap'))))
    .description('connections and requests as they happen, with who proved what and which rule decided')
    .option('--count <n>', 'end after so many')
    .option('--for <seconds>', 'end after so long')
    .option('--both-ends', "also what the caller's node tells of what the other end tells better")
    .addHelpText(
      'after',
      helpText(
        [
          ['loam tap', 'all, until Ctrl-C'],
          ['loam tap --to shop/payments --status 5xx', 'what fails there'],
          ['loam tap --verdict denied --count 1', 'the next denial, and its rule'],
          ['loam tap -o json --for 60 > flows.jsonl', 'for scripts, and for loam policy preview --flows'],
        ],
        LIVE_EXITS,
        'json is one object a line, in the form of the flow stream (docs/decisions/0145). What the mesh told faster than could be read is\nleft out, and said at the end. What a flag at the end of a line means: docs/response-flags.md.',
      ),
    )
    .action(tap);
}

async function tap(flags: TapFlags): Promise<void> {
  const most = flags.count === undefined ? Infinity : countOf('--count', flags.count);
  const ms = flags.for === undefined ? undefined : secondsOf('--for', flags.for);
  const reader = await openMesh(flags);
  await tellUnknownNames(reader, filterOf(flags), true);
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, untilEnded(ms)]);
  const colours = coloursFor(process.stdout);
  let told = 0;
  const lost = await follow(
    reader,
    signal,
    flags.verdict === 'allowed' || flags.verdict === undefined,
    (event) => {
      if (
        told >= most ||
        (flags.bothEnds !== true && !isMainWord(event)) ||
        !passesFilter(event, filterOf(flags))
      )
        return;
      told += 1;
      void write(`${formatted(flags.output, event, () => eventLine(event, colours))}\n`);
      if (told >= most) over.abort();
    },
  );
  if (lost > 0) complain(`loam: ${lost} more were not told: it was too much at once`);
}

function formatted(format: Format, event: FlowEvent, text: () => string): string {
  switch (format) {
    case 'text':
      return printableLine(text());
    case 'json':
      return printableJson(JSON.stringify(event));
    case 'yaml':
      return `---\n${printableJson(stringify(event)).trimEnd()}`;
  }
}

function filterOf(flags: FlowFilter): FlowFilter {
  const { from, to, namespace, verdict, method, path, status, policy, text } = flags;
  return {
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(namespace !== undefined && { namespace }),
    ...(verdict !== undefined && { verdict }),
    ...(method !== undefined && { method }),
    ...(path !== undefined && { path }),
    ...(status !== undefined && { status }),
    ...(policy !== undefined && { policy }),
    ...(text !== undefined && { text }),
  };
}

/** Reads events until the signal. @returns how many were lost on the way */
export async function follow(
  reader: MeshReader,
  signal: AbortSignal,
  all: boolean,
  onEvent: (event: FlowEvent) => void,
): Promise<number> {
  const feed = new FlowFeed({
    list: () => reader.producers(),
    events: all ? 'all' : 'notable',
    onRecord: (record) => {
      if (record.kind === 'opened' || record.kind === 'ended' || record.kind === 'request') onEvent(record);
    },
  });
  await feed.start();
  await whenAborted(signal);
  feed.close();
  return feed.states().producers.reduce((sum, { lostEvents }) => sum + lostEvents, 0);
}

interface TopFlags extends MeshOptions, OutputFlag {
  readonly sort: Sort;
  readonly window: string;
  readonly limit: string;
  readonly by: 'app' | 'workload';
  readonly once?: boolean;
}

/** `loam top`: the busiest, slowest or most failing calls. */
export function topCommand(): Command {
  return withOutput(onMesh(new Command('top')))
    .description('who calls whom most, slowest, or with most failures; live in a terminal')
    .option('-n, --namespace <name>', 'at either end')
    .addOption(new Option('--sort <by>', 'what comes first').choices(SORTS).default('rate'))
    .option('--window <seconds>', 'time that the figures are of', '10')
    .option('--limit <n>', 'lines', '20')
    .addOption(
      new Option('--by <what>', 'what a line stands for').choices(['app', 'workload']).default('app'),
    )
    .option('--once', 'one table after the window, and no more; so it is where nobody looks at a terminal')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam top', 'until Ctrl-C'],
          ['loam top --sort p95 --by workload', 'the slowest, by pod'],
          ['loam top --once --sort failed -o json', 'for scripts'],
        ],
        LIVE_EXITS,
      ),
    )
    .action(async (flags: TopFlags) => {
      const windowMs = secondsOf('--window', flags.window, 600);
      const limit = countOf('--limit', flags.limit);
      const reader = await openMesh(flags);
      await tellUnknownNames(reader, { ...(flags.namespace && { namespace: flags.namespace }) }, true);
      const live = flags.once !== true && flags.output === 'text' && process.stdout.isTTY;
      const observatory = await observing(reader);
      const signal = untilEnded(live ? undefined : windowMs + REFRESH_MS);
      const edges = () =>
        sortedEdges(
          edgesIn(observatory.state(windowMs, undefined, flags.by).graph.edges, flags.namespace),
          flags.sort,
        ).slice(0, limit);
      const colours = coloursFor(process.stdout);
      const show = setInterval(() => {
        const title = `${reader.name}, the last ${windowMs / 1000} s, by ${flags.sort}; Ctrl-C ends it`;
        void write(
          `${CLEAR}${[colours.bold(title), '', ...edgeLines(edges(), colours)].map(printableLine).join('\n')}\n`,
        );
      }, REFRESH_MS);
      if (!live) clearInterval(show);
      await whenAborted(signal);
      clearInterval(show);
      if (!live) await print(flags.output, { windowMs, edges: edges() }, () => edgeLines(edges(), colours));
      observatory.close();
    });
}

const GRAPH_FORMATS = [...FORMATS, 'dot', 'mermaid'] as const;

/** `loam graph`: who calls whom, once. */
export function graphCommand(): Command {
  return onMesh(new Command('graph'))
    .description('who calls whom: what is seen within some seconds')
    .option('--for <seconds>', 'how long to look', '10')
    .addOption(
      new Option('--by <what>', 'what a node stands for').choices(['app', 'workload']).default('app'),
    )
    .option('-n, --namespace <name>', 'at either end')
    .addOption(
      new Option(
        '-o, --output <format>',
        'text for people; dot for Graphviz, mermaid for Markdown; json and yaml for scripts',
      )
        .choices(GRAPH_FORMATS)
        .default('text'),
    )
    .addHelpText(
      'after',
      helpText(
        [
          ['loam graph', ''],
          ['loam graph --for 60 -o dot | dot -Tsvg > mesh.svg', 'a picture'],
          ['loam graph --namespace shop -o mermaid', ''],
        ],
        LIVE_EXITS,
      ),
    )
    .action(
      async (
        flags: MeshOptions & {
          for: string;
          by: 'app' | 'workload';
          namespace?: string;
          output: (typeof GRAPH_FORMATS)[number];
        },
      ) => {
        const ms = secondsOf('--for', flags.for, 600);
        const reader = await openMesh(flags);
        await tellUnknownNames(reader, { ...(flags.namespace && { namespace: flags.namespace }) }, true);
        const observatory = await observing(reader);
        await whenAborted(untilEnded(ms + REFRESH_MS));
        const { graph } = observatory.state(ms, undefined, flags.by);
        observatory.close();
        const edges = sortedEdges(edgesIn(graph.edges, flags.namespace), 'rate');
        const shown = { ...graph, edges };
        switch (flags.output) {
          case 'dot':
            return write(`${dotLines(shown).map(printableLine).join('\n')}\n`);
          case 'mermaid':
            return write(`${mermaidLines(shown).map(printableLine).join('\n')}\n`);
          case 'text':
          case 'json':
          case 'yaml':
            return print(flags.output, shown, () => edgeLines(edges, coloursFor(process.stdout)));
        }
      },
    );
}

async function observing(reader: MeshReader): Promise<Observatory> {
  const observatory = new Observatory({
    producers: () => reader.producers(),
    catalog: () => reader.catalog(),
  });
  await observatory.start();
  return observatory;
}
