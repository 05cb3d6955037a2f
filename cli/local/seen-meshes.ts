import { readdirSync } from 'node:fs';

const NETNS_FOLDER = '/run/netns';
/** As names.ts makes it: no other name of a mesh's namespaces ends so. */
const FABRIC = /^loam-([a-z0-9]{1,12})-fabric$/;

/** Local meshes of this machine, as whoever has no rights sees them: by the name of their network's namespace. */
export function seenMeshes(folder = NETNS_FOLDER): string[] {
  try {
    return readdirSync(folder)
      .flatMap((name) => FABRIC.exec(name)?.[1] ?? [])
      .sort();
  } catch {
    return []; // there was never a network namespace here
  }
}
