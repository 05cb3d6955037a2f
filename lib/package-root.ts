import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The folder of Loam's package.json, for data files (BPF objects, examples) that are not compiled.
 * Works both from the TypeScript sources and from dist/.
 *
 * @throws Error when no package.json is found above this module: the installation is broken.
 */
export function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) {
    const parent = dirname(dir);
    if (parent === dir) throw new Error(`no package.json above ${fileURLToPath(import.meta.url)}`);
    dir = parent;
  }
  return dir;
}

/** The version of Loam's package. */
export function packageVersion(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * The URL of a module beside the caller, with the caller's own extension: `.ts` when Node runs the sources,
 * `.js` when it runs dist/. For entry points that are not imported (worker threads, child processes).
 *
 * @param callerUrl the caller's `import.meta.url`
 * @param path relative path without extension, for example `./connection-worker`
 */
export function siblingModule(callerUrl: string, path: string): URL {
  return new URL(path + (callerUrl.endsWith('.ts') ? '.ts' : '.js'), callerUrl);
}
