import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { arch, cpus, release, totalmem, uptime } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { errorText } from '../../lib/loam-error.ts';
import { meshPaths } from '../local/paths.ts';
import { problemsOf } from '../local/problems.ts';
import { statusText } from '../local/status-text.ts';
import { meshStatus, supervisorReport } from '../local/status.ts';
import { dumpPath } from '../look/config-diff.ts';
import { dataPlane, ztunnels } from '../look/ask-all.ts';
import { heldCertificates } from '../look/certs.ts';
import { openConnections } from '../look/connections.ts';
import type { MeshInventory, MeshReader, ProgramRef } from '../mesh/reader.ts';
import { programName } from '../mesh/reader.ts';
import { ownVersion } from '../version.ts';
import type { ReportFile } from './archive.ts';
import { Redactor } from './redact.ts';

/** Of each log, the end. */
const LOG_BYTES = 1 << 20;
const MANIFEST = /\.(ya?ml|json)$/;

/** Everything of a local mesh that helps to understand it, without secrets. What cannot be had says so in its place. */
export async function collectReport(mesh: string, reader: MeshReader): Promise<ReportFile[]> {
  const redactor = new Redactor(knownSecrets(mesh));
  const { files, add, json } = collecting(redactor);
  await add('machine.json', () => json(machine()));
  await add('status.txt', async () => redactor.text(statusText(await meshStatus(mesh))));
  await add('status.json', async () => {
    const status = await meshStatus(mesh);
    return json({ ...status, problems: problemsOf(status) });
  });
  await collectCommon(reader, redactor, { add, json });
  for (const [path, file] of logsOf(mesh)) await add(`log/${path}`, () => redactor.text(tailOf(file)));
  for (const [path, file] of await manifestsOf(mesh))
    await add(`manifests/${path}`, () => manifestText(redactor, readFileSync(file, 'utf8')));
  return files;
}

/** Where a report is gathered. */
export interface Collected {
  /** What cannot be made says so in its place. */
  readonly add: (path: string, make: () => Promise<string> | string) => Promise<void>;
  /** Without secrets. */
  readonly json: (value: unknown) => string;
}

/** A report to gather, without what the redactor knows or takes for a secret. */
export function collecting(redactor: Redactor): Collected & { readonly files: ReportFile[] } {
  const files: ReportFile[] = [];
  return {
    files,
    add: async (path, make) => {
      let content: string;
      try {
        content = await make();
      } catch (error) {
        content = `not to be had: ${redactor.text(errorText(error))}\n`;
      }
      files.push({ path, content });
    },
    json: (value) => `${JSON.stringify(redactor.value(value), undefined, 2)}\n`,
  };
}

/** What programs and kernel tell, in any mesh. */
export async function collectCommon(
  reader: MeshReader,
  redactor: Redactor,
  { add, json }: Collected,
): Promise<void> {
  const inventory = await inventoryOrNone(reader);
  await add('inventory.json', () => json(inventory));
  for (const program of programs(inventory)) {
    const name = programName(program).replaceAll(/[ /]+/g, '-');
    await add(`programs/${name}.json`, async () =>
      json(withoutChains(await reader.get(program, dumpPath(program)))),
    );
    if (program.program === 'ztunnel' || program.program === 'waypoint')
      await add(`programs/${name}.metrics`, async () =>
        redactor.text(await reader.text(program, '/metrics')),
      );
  }
  const now = Date.now();
  await add('certificates.json', async () => json(await heldCertificates(reader, inventory, 0, now)));
  await add('connections.json', async () => json(await openConnections(reader, inventory, {})));
  await add('kernel.json', async () =>
    json(
      Object.fromEntries(
        await Promise.all(
          inventory.pods.map(
            async (pod) =>
              [
                `${pod.namespace}/${pod.name}`,
                await reader.kernel(pod).catch((error: unknown) => ({ unread: errorText(error) })),
              ] as const,
          ),
        ),
      ),
    ),
  );
}

function programs(inventory: MeshInventory): ProgramRef[] {
  return [
    { program: 'controller' },
    ...ztunnels(inventory).map((each): ProgramRef => ({
      program: 'agent',
      node: 'node' in each ? each.node : '',
    })),
    ...dataPlane(inventory),
  ];
}

async function inventoryOrNone(reader: MeshReader): Promise<MeshInventory> {
  try {
    return await reader.inventory();
  } catch {
    return { nodes: [], pods: [], services: [], waypoints: [] };
  }
}

export function machine(): object {
  return {
    loam: ownVersion(),
    node: process.version,
    kernel: release(),
    processor: arch(),
    processors: cpus().length,
    memory: totalmem(),
    uptimeS: Math.round(uptime()),
    at: new Date().toISOString(),
  };
}

/** Certificates are no secret, and of no use in a report. */
function withoutChains(dump: unknown): unknown {
  const { certificates, ...rest } = dump as { readonly certificates?: readonly object[] };
  if (certificates === undefined) return dump;
  return { ...rest, certificates: certificates.map((each) => ({ ...each, certChainPem: undefined })) };
}

/** The tokens of this mesh: known, so that they are found wherever they stand. */
function knownSecrets(mesh: string): string[] {
  const { tokens } = meshPaths(mesh);
  try {
    const file = JSON.parse(readFileSync(tokens, 'utf8')) as {
      readonly tokens: readonly { readonly token: string }[];
    };
    return file.tokens.map(({ token }) => token);
  } catch {
    return [];
  }
}

function logsOf(mesh: string): [string, string][] {
  const { logs, supervisorOutput } = meshPaths(mesh);
  const found = existsSync(logs)
    ? readdirSync(logs, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry): [string, string] => {
          const file = join(entry.parentPath, entry.name);
          return [file.slice(logs.length + 1), file];
        })
    : [];
  return existsSync(supervisorOutput) ? [...found, ['supervisor.out', supervisorOutput]] : found;
}

function tailOf(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const from = Math.max(0, size - LOG_BYTES);
    const bytes = Buffer.alloc(size - from);
    const read = readSync(fd, bytes, 0, bytes.length, from);
    const text = bytes.toString('utf8', 0, read);
    // A secret that is cut in half is not known any more: whole lines only.
    return from === 0 ? text : text.slice(text.indexOf('\n') + 1);
  } finally {
    closeSync(fd);
  }
}

async function manifestsOf(mesh: string): Promise<[string, string][]> {
  try {
    const { manifests } = await supervisorReport(mesh);
    return readdirSync(manifests, { recursive: true, encoding: 'utf8' })
      .filter((path) => MANIFEST.test(path))
      .map((path) => [path, join(manifests, path)]);
  } catch {
    return [];
  }
}

/** What is no YAML may hold anything, and stays away. */
export function manifestText(redactor: Redactor, text: string): string {
  const documents = parseAllDocuments(text);
  if (documents.some(({ errors }) => errors.length > 0))
    return 'left out: it is no YAML, so that secrets in it could not be told\n';
  return documents.map((document) => stringify(redactor.manifest(document.toJS()))).join('---\n');
}
