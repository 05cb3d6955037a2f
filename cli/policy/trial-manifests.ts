import { copyFileSync, cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { meshPaths } from '../local/paths.ts';
import { CLUSTER_ID, TRUST_DOMAIN } from '../local/programs.ts';
import { supervisorReport } from '../local/status.ts';
import { MeshError } from '../mesh/errors.ts';
import { documentsOf, keyOf, readProposed, type ObjectKey, type Proposal } from './proposal.ts';
import { TRIAL_PATIENCE_MS, type Trial } from './trial-controller.ts';

const MANIFEST = /\.(ya?ml|json)$/;

/** A local mesh's manifests with the proposal among them. @throws MeshError MESH_INPUT */
export async function localTrial(mesh: string, proposal: Proposal, folder: string): Promise<Trial> {
  const manifests = join(folder, 'manifests');
  const assignments = join(folder, 'assignments.json');
  const files = copyWithProposal(
    (await supervisorReport(mesh, TRIAL_PATIENCE_MS)).manifests,
    manifests,
    proposal,
  );
  copyFileSync(meshPaths(mesh).assignments, assignments);
  return {
    flags: { manifests, assignments },
    mesh: { trustDomain: TRUST_DOMAIN, clusterId: CLUSTER_ID },
    isProposed: (file) => files.some((each) => file.endsWith(each)),
    passedOver: [],
  };
}

/**
 * Copies a mesh's manifests to a folder, with what is proposed.
 *
 * @returns the names of the files that hold the proposal
 * @throws MeshError MESH_INPUT when a file of it cannot be read
 */
export function copyWithProposal(manifests: string, folder: string, { files, without }: Proposal): string[] {
  const texts = files.map(readProposed);
  const proposed = texts.flatMap(({ file, text }) => documentsOf(file, text).map(keyOf));
  const gone = new Set([...proposed, ...without].map(keyText));
  const missing = new Set(without.map(keyText));
  cpSync(manifests, folder, { recursive: true, filter: (path) => isManifestOrFolder(path) });
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const file = join(folder, path);
    if (!MANIFEST.test(path)) continue;
    let documents: unknown[];
    try {
      documents = documentsOf(path, readFileSync(file, 'utf8'));
    } catch {
      continue; // A broken manifest of the mesh is for its controller to say, which goes on with the last good one.
    }
    const kept = documents.filter((document) => !gone.has(keyText(keyOf(document))));
    for (const document of documents) missing.delete(keyText(keyOf(document)));
    if (kept.length === documents.length) continue;
    if (kept.length === 0) rmSync(file);
    else writeFileSync(file, kept.map((document) => stringify(document)).join('---\n'));
  }
  const [first] = missing;
  if (first !== undefined)
    throw new MeshError('MESH_INPUT', `the mesh has no ${first}, so that it cannot go without it`);
  return texts.map(({ text }, i) => {
    const name = `proposed-${i}.yaml`;
    writeFileSync(join(folder, name), text);
    return name;
  });
}

function isManifestOrFolder(path: string): boolean {
  return MANIFEST.test(path) || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function keyText({ kind, namespace, name }: ObjectKey): string {
  return `${kind}/${namespace === '' ? 'default' : namespace}/${name}`;
}
