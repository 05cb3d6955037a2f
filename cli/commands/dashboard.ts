import { Command } from 'commander';
import { dashboardApi } from '../web/api.ts';
import { pageFiles } from '../web/page-files.ts';
import { DashboardServer } from '../web/server.ts';
import { LocalMeshError } from '../local/errors.ts';
import { checkMeshName, DEFAULT_MESH } from '../local/names.ts';
import { runningMesh } from '../local/up.ts';
import { localCatalogs } from '../observe/local-catalog.ts';
import { localProducers } from '../observe/local-producers.ts';
import { Observatory } from '../observe/observatory.ts';

const HIGHEST_PORT = 65535;

/** `loam dashboard`: the mesh in a browser, until it is ended. */
export function dashboardCommand(): Command {
  return new Command('dashboard')
    .description('see the mesh in a browser: who calls whom, how fast, by which rule; of a local mesh')
    .option('--name <mesh>', 'which mesh, where there are several', DEFAULT_MESH)
    .option('--port <n>', 'port of 127.0.0.1 to serve it on; 0: any free one', '0')
    .addHelpText(
      'after',
      '\nExamples:\n  loam dashboard                     of the mesh that `loam local up` started\n  loam dashboard --name demo         of the demo, which runs in another terminal',
    )
    .action(async (options: { name: string; port: string }) => {
      const mesh = checkMeshName(options.name);
      const port = Number(options.port);
      if (!Number.isInteger(port) || port < 0 || port > HIGHEST_PORT)
        throw new LocalMeshError(
          'LOCAL_MESH_INPUT',
          `--port ${JSON.stringify(options.port)} is not a port; allowed: 0 to ${HIGHEST_PORT}`,
        );
      if ((await runningMesh(mesh)) === undefined)
        throw new LocalMeshError(
          'LOCAL_MESH_STATE',
          `there is no mesh ${mesh}; start one: loam local up DIR, or loam demo and here --name demo`,
        );
      const observatory = new Observatory({
        producers: () => localProducers(mesh),
        catalog: localCatalogs(mesh),
      });
      const server = new DashboardServer({ port, files: pageFiles(), api: dashboardApi(observatory) });
      await observatory.start();
      const address = await server.start();
      console.log(`The dashboard of mesh ${mesh}, for browsers of this machine:\n\n  ${address}\n`);
      console.log('Who has this address sees all of the mesh. Ctrl-C ends it.');
      await new Promise<void>((resolve) => {
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
      });
      observatory.close();
      await server.close();
    });
}
