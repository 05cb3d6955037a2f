/** Commands that show how something is: `describe`, `connections`, `certs`. */
import { Command, Option } from 'commander';
import { MeshError } from '../mesh/errors.ts';
import { findPod, findService } from '../mesh/find.ts';
import { certificateLines, heldCertificates } from '../look/certs.ts';
import { connectionLines, openConnections, type ConnectionFilter } from '../look/connections.ts';
import { tellUnknownNames } from '../live/known-names.ts';
import { describePod, describeService } from '../look/describe.ts';
import { podLines, serviceLines } from '../look/describe-text.ts';
import { coloursFor } from '../output/colours.ts';
import { print, withOutput, type OutputFlag } from '../output/print.ts';
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

type Flags = MeshOptions & OutputFlag;

const EXITS = `0 all is well, ${EXIT_NO} something is not, 2 what was given is not usable, 1 it cannot be told`;
const MINUTE_MS = 60_000;

/** `loam describe`: all about a pod or a Service. */
export function describeCommand(): Command {
  const describe = new Command('describe').description(
    'all about a pod or a Service, from those who serve it',
  );
  describe.addCommand(
    withOutput(inNamespace(onMesh(new Command('pod'))))
      .description('its place, identity, certificate, policies, and what the kernel says of it')
      .argument('<pod>', 'NAMESPACE/NAME, or a name that only one has')
      .addHelpText(
        'after',
        helpText(
          [
            ['loam describe pod shop/frontend', ''],
            ['loam describe pod frontend -o yaml', 'for scripts'],
          ],
          EXITS,
        ),
      )
      .action(async (word: string, flags: Flags) => {
        const world = await World.read(await openMesh(flags, [word]));
        const view = await describePod(
          world,
          findPod(world.inventory, wordIn(flags, word), 'loam describe service'),
        );
        await print(flags.output, view, () => podLines(view, coloursFor(process.stdout), Date.now()));
        process.exitCode = view.problems.length === 0 ? 0 : EXIT_NO;
      }),
  );
  describe.addCommand(
    withOutput(inNamespace(onMesh(new Command('service').alias('svc'))))
      .description('its addresses, endpoints, waypoint, routes and policies')
      .argument('<service>', 'NAMESPACE/NAME, or a name that only one has')
      .addHelpText(
        'after',
        helpText(
          [
            ['loam describe service shop/payments', ''],
            ['loam describe service payments -o json', 'for scripts'],
          ],
          EXITS,
        ),
      )
      .action(async (word: string, flags: Flags) => {
        const world = await World.read(await openMesh(flags, [word]));
        const view = await describeService(
          world,
          findService(world.inventory, wordIn(flags, word), 'loam describe pod'),
        );
        await print(flags.output, view, () => serviceLines(view, coloursFor(process.stdout)));
        process.exitCode = view.problems.length === 0 ? 0 : EXIT_NO;
      }),
  );
  return describe;
}

/** `loam connections`: what is open now. */
export function connectionsCommand(): Command {
  return withOutput(onMesh(new Command('connections')))
    .description('connections that are open now, as the nodes of their ends tell them')
    .option('--pod <name>', 'with this pod at either end')
    .option('-n, --namespace <name>', 'with this namespace at either end')
    .addOption(new Option('--direction <which>', 'as seen from the pod').choices(['inbound', 'outbound']))
    .addHelpText(
      'after',
      helpText(
        [
          ['loam connections', 'all; one between two pods of the mesh is there twice, once for each end'],
          ['loam connections --pod shop/db --direction inbound', 'who is connected to the database'],
        ],
        '0 all nodes answered, 1 one did not, 2 what was given is not usable',
      ),
    )
    .action(async (flags: Flags & ConnectionFilter) => {
      const reader = await openMesh(flags);
      const inventory = await reader.inventory();
      await tellUnknownNames(reader, { ...(flags.namespace && { namespace: flags.namespace }) }, false);
      const pod = flags.pod === undefined ? undefined : findPod(inventory, flags.pod);
      const found = await openConnections(reader, inventory, {
        ...(pod && { pod: `${pod.namespace}/${pod.name}` }),
        ...(flags.namespace !== undefined && { namespace: flags.namespace }),
        ...(flags.direction !== undefined && { direction: flags.direction }),
      });
      await print(flags.output, found, () => connectionLines(found, coloursFor(process.stdout), Date.now()));
      process.exitCode = found.problems.length === 0 ? 0 : 1;
    });
}

/** `loam certs`: who holds which certificate, and until when. */
export function certsCommand(): Command {
  return withOutput(inNamespace(onMesh(new Command('certs'))))
    .description('certificates that nodes and waypoints hold, and until when; never a key')
    .option('--within <minutes>', 'that one ends so soon is not well', '0')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam certs', ''],
          ['loam certs --within 60 || page-somebody', 'one is missing, or ends within the hour'],
        ],
        `0 each is valid, ${EXIT_NO} one is not, 2 what was given is not usable, 1 a program did not answer`,
      ),
    )
    .action(async (flags: Flags & { within: string }) => {
      const minutes = Number(flags.within);
      if (!Number.isFinite(minutes) || minutes < 0)
        throw new MeshError(
          'MESH_INPUT',
          `--within ${JSON.stringify(flags.within)} is not a number of minutes from 0 on`,
        );
      const reader = await openMesh(flags);
      const now = Date.now();
      const found = await heldCertificates(reader, await reader.inventory(), minutes * MINUTE_MS, now);
      await print(flags.output, found, () => certificateLines(found, coloursFor(process.stdout), now));
      if (found.problems.length > 0) process.exitCode = 1;
      else if (found.certificates.some(({ problem }) => problem !== undefined)) process.exitCode = EXIT_NO;
    });
}
