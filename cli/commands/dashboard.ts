import { Command } from 'commander';
import { dashboardApi } from '../web/api.ts';
import { pageFiles } from '../web/page-files.ts';
import { PrometheusHistory } from '../web/prometheus.ts';
import { DashboardServer } from '../web/server.ts';
import { LocalMeshError } from '../local/errors.ts';
import { Observatory } from '../observe/observatory.ts';
import { say } from '../output/say.ts';
import { helpText, inNamespace, onMesh, openMesh, type MeshOptions } from './mesh-options.ts';

const HIGHEST_PORT = 65535;

/** `loam dashboard`: the mesh in a browser, until it is ended. */
export function dashboardCommand(): Command {
  return inNamespace(onMesh(new Command('dashboard')))
    .description('see the mesh in a browser: who calls whom, how fast, by which rule')
    .option('--port <n>', 'port of 127.0.0.1 to serve it on; 0: any free one', '0')
    .option('--prometheus <url>', 'a Prometheus that scrapes the mesh, for hours and days of a Service')
    .addHelpText(
      'after',
      helpText(
        [
          [
            'loam dashboard',
            'of the mesh that `loam local up` started, else of the cluster of the kubeconfig',
          ],
          ['loam dashboard --name demo', 'of the demo, which runs in another terminal'],
          ['loam dashboard --context staging', 'of a cluster, as far as your own rights let you see it'],
          ['loam dashboard --prometheus http://127.0.0.1:9090', 'with what that one kept of each Service'],
        ],
        '0 it was ended, 1 the mesh cannot be asked, 2 what was given is not usable',
      ),
    )
    .action(dashboard);
}

async function dashboard(
  options: MeshOptions & { readonly port: string; readonly prometheus?: string },
): Promise<void> {
  const port = Number(options.port);
  if (!Number.isInteger(port) || port < 0 || port > HIGHEST_PORT)
    throw new LocalMeshError(
      'LOCAL_MESH_INPUT',
      `--port ${JSON.stringify(options.port)} is not a port; allowed: 0 to ${HIGHEST_PORT}`,
    );
  const history = options.prometheus === undefined ? undefined : new PrometheusHistory(options.prometheus);
  const reader = await openMesh(options);
  const observatory = new Observatory({
    producers: () => reader.producers(),
    catalog: () => reader.catalog(),
  });
  const server = new DashboardServer({ port, files: pageFiles(), api: dashboardApi(observatory, history) });
  await observatory.start();
  const address = await server.start();
  say(`The dashboard of ${reader.name}, for browsers of this machine:\n\n  ${address}\n`);
  say(
    reader.plainServices === 'pods'
      ? 'Who has this address sees all of the mesh. Ctrl-C ends it.'
      : 'Who has this address sees what you may see of it. Ctrl-C ends it.',
  );
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  observatory.close();
  await server.close();
}
