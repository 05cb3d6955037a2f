import { Command } from 'commander';
import { MeshError } from '../mesh/errors.ts';
import { findPod, findTarget, type Target } from '../mesh/find.ts';
import { coloursFor } from '../output/colours.ts';
import { print, withOutput, type OutputFlag } from '../output/print.ts';
import { explain } from '../why/explain.ts';
import type { RequestAsked } from '../why/model.ts';
import { whyLines } from '../why/text.ts';
import { World } from '../why/world.ts';
import {
  EXIT_NO,
  helpText,
  inNamespace,
  onMesh,
  openMesh,
  wordIn,
  type MeshOptions,
} from './mesh-options.ts';

const METHOD = /^[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,31}$/;

interface WhyFlags extends MeshOptions, OutputFlag {
  readonly host?: string;
  readonly header: readonly string[];
}

async function why(
  sourceWord: string,
  destination: string,
  method: string | undefined,
  path: string | undefined,
  flags: WhyFlags,
): Promise<void> {
  const request = requestOf(method, path, flags);
  const reader = await openMesh(flags, [sourceWord, destination]);
  const world = await World.read(reader);
  const source = findPod(world.inventory, wordIn(flags, sourceWord));
  const { target, port } = findTarget(world.inventory, wordIn(flags, destination));
  const explanation = await explain(world, {
    source,
    target,
    port: port ?? onlyPort(target, destination),
    ...(request && { request }),
  });
  await print(flags.output, explanation, () => whyLines(explanation, coloursFor(process.stdout)));
  process.exitCode = explanation.outcome === 'allowed' ? 0 : EXIT_NO;
}

/** @throws MeshError MESH_INPUT */
export function requestOf(
  method: string | undefined,
  path: string | undefined,
  { host, header = [] }: { readonly host?: string; readonly header?: readonly string[] },
): RequestAsked | undefined {
  if (method === undefined) {
    if (host === undefined && header.length === 0) return undefined;
    throw new MeshError('MESH_INPUT', '--host and --header are of a request: give METHOD and PATH as well');
  }
  if (!METHOD.test(method))
    throw new MeshError(
      'MESH_INPUT',
      `${JSON.stringify(method)} is no method; allowed: GET, POST and the like`,
    );
  if (path === undefined || !path.startsWith('/'))
    throw new MeshError(
      'MESH_INPUT',
      `after ${method} a path is needed that begins with /, as in: GET /charge`,
    );
  const headers = header.map((line) => {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined)
      throw new MeshError('MESH_INPUT', `--header ${JSON.stringify(line)} is not of the form "name: value"`);
    return [name, value] as const;
  });
  return {
    method,
    path,
    ...(host !== undefined && { host }),
    ...(headers.length > 0 && { headers: Object.fromEntries(headers) }),
  };
}

/** @throws MeshError MESH_INPUT when it is not plain which one is meant */
export function onlyPort(target: Target, word: string): number {
  const ports = target.kind === 'service' ? target.service.ports.map(({ port }) => port) : [];
  const [only] = ports;
  if (only !== undefined && ports.length === 1) return only;
  const known = ports.length > 0 ? `; Service ${word} has ${ports.join(', ')}` : '';
  throw new MeshError('MESH_INPUT', `say which port: ${word}:PORT${known}`);
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** `loam why`: whether a connection or request is allowed, by which rule, and where it goes. */
export function whyCommand(): Command {
  return withOutput(inNamespace(onMesh(new Command('why'))))
    .description(
      'whether a pod may reach something, by which rule, on which path, and what the kernel says of both ends',
    )
    .argument('<src>', 'pod: NAMESPACE/NAME, or a name that only one has')
    .argument(
      '<dst>',
      'pod, Service or address, with :PORT: shop/auth:80, pod/shop/auth-1:8080, 198.18.0.4:80',
    )
    .argument('[method]', 'of a request, where a waypoint reads them')
    .argument('[path]', 'of the request')
    .option('--host <name>', "the request's Host; by default the Service's name")
    .option('--header <line>', 'a header of the request, "name: value"; may be given again', collect, [])
    .addHelpText(
      'after',
      helpText(
        [
          ['loam why shop/frontend shop/auth:80', 'a connection to a Service'],
          ['loam why shop/frontend shop/payments POST /charge', 'a request through its waypoint'],
          ['loam why kiosk/frontend pod/shop/db:6379 -o json', 'to one pod; for scripts'],
        ],
        `0 allowed, ${EXIT_NO} denied, unreachable or not with every endpoint, 2 what was given is not usable, 1 it cannot be told`,
        'It opens no connection: it evaluates what the nodes and waypoints hold now, as they do it. Whether an application listens\nthere is not looked at.',
      ),
    )
    .action(why);
}
