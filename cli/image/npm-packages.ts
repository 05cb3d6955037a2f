/** The packages of npm that the programs import, with what these import in their turn, as the lock file pins them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ImageError } from './errors.ts';
import type { Architecture } from './elf.ts';

/** One entry of `packages` of package-lock.json (version 3), as far as it matters here. */
interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly os?: string | readonly string[];
  readonly cpu?: string | readonly string[];
}

export interface NpmPackage {
  readonly name: string;
  /** Its place in the package, for example `node_modules/koffi`. */
  readonly place: string;
  readonly version: string;
  readonly license: string | undefined;
  readonly integrity: string | undefined;
  /** The folder of this machine that holds its files. */
  readonly folder: string;
}

/** As npm calls the processors. */
export const NPM_CPU: Readonly<Record<Architecture, string>> = { amd64: 'x64', arm64: 'arm64' };

/** `import … from 'x'`, `export … from 'x'`, `import 'x'` and `import('x')`, as the TypeScript compiler prints them. */
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)(['"])([^'"\n]+)\1/g;

/** Compiled modules below a folder of this machine, as whole paths. */
export function modulesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.js'))
    .map((file) => join(folder, file));
}

/**
 * A compiled module with all that it imports, and these in their turn, as whole paths.
 *
 * @throws ImageError IMAGE_FILE naming one that is missing
 */
export function withImports(module: string): string[] {
  const found = new Set<string>();
  const visit = (path: string): void => {
    if (found.has(path)) return;
    if (!existsSync(path)) throw new ImageError('IMAGE_FILE', `${path} is missing, or is no file`);
    found.add(path);
    for (const specifier of specifiersOf(path))
      if (specifier.startsWith('.')) visit(join(dirname(path), specifier));
  };
  visit(module);
  return [...found].sort();
}

function specifiersOf(module: string): string[] {
  return [...readFileSync(module, 'utf8').matchAll(IMPORT)].map(([, , specifier]) => specifier ?? '');
}

/** The names of the packages that compiled modules import. */
export function importedPackages(modules: readonly string[]): string[] {
  const names = modules.flatMap(specifiersOf).map(packageOf);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}

/** undefined: a module of Node's, or a file. */
function packageOf(specifier: string): string | undefined {
  if (!/^[@a-z]/.test(specifier) || specifier.startsWith('node:')) return undefined;
  const parts = specifier.split('/');
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0];
}

/**
 * Follows the lock file from the named packages.
 *
 * @param modules folders that stand in for `node_modules`, in order: packages of another platform are in one of their own
 * @throws ImageError IMAGE_FILE when the lock file does not know one, or it is not installed
 */
export function packagesOf(
  names: readonly string[],
  lockFile: string,
  modules: readonly string[],
  architecture: Architecture,
): NpmPackage[] {
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  };
  const found = new Map<string, NpmPackage>();

  const visit = (name: string, from: string, optional: boolean): void => {
    // Types are gone once it is compiled.
    if (name.startsWith('@types/')) return;
    const place = resolve(packages, name, from);
    const locked = place === undefined ? undefined : packages[place];
    if (place === undefined || locked?.version === undefined) {
      if (optional) return;
      throw new ImageError('IMAGE_FILE', `${lockFile} has no ${name}, which ${from || 'Loam'} imports`);
    }
    if (found.has(place) || !runsOn(locked, architecture)) return;
    const folder = modules
      .map((dir) => join(dir, place.slice('node_modules/'.length)))
      .find((candidate) => existsSync(join(candidate, 'package.json')));
    if (folder === undefined)
      throw new ImageError('IMAGE_FILE', `the package ${name} is in none of ${modules.join(', ')}`);
    checkVersion(name, folder, locked.version);
    const { version, license, integrity } = locked;
    found.set(place, { name, place, version, license, integrity, folder });
    for (const next of Object.keys(locked.dependencies ?? {})) visit(next, place, false);
    for (const next of Object.keys(locked.optionalDependencies ?? {})) visit(next, place, true);
  };

  for (const name of names) visit(name, '', false);
  return [...found.values()].sort((a, b) => (a.place < b.place ? -1 : 1));
}

/** As Node looks: in the importing package's own folder of packages first, then outward. */
function resolve(packages: Readonly<Record<string, Locked>>, name: string, from: string): string | undefined {
  for (let at = from; ;) {
    const place = at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`;
    if (packages[place] !== undefined) return place;
    if (at === '') return undefined;
    const outer = at.lastIndexOf('/node_modules/');
    at = outer === -1 ? '' : at.slice(0, outer);
  }
}

function runsOn({ os, cpu }: Locked, architecture: Architecture): boolean {
  const allows = (list: string | readonly string[] | undefined, value: string): boolean =>
    list === undefined || [list].flat().includes(value);
  return allows(os, 'linux') && allows(cpu, NPM_CPU[architecture]);
}

function checkVersion(name: string, folder: string, locked: string): void {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  if (version !== locked)
    throw new ImageError(
      'IMAGE_FILE',
      `${folder} is ${name} ${version}, the lock file says ${locked}: npm ci`,
    );
}

/** Folders at a package's root that hold nothing that runs on the image's libc. */
const IDLE_FOLDERS = /^(?:\.github|musl_[^/]+|test|tests|docs?|examples?|bench|benchmarks?|node_modules)\//;
/** Files that are for people and tools: sources in other languages, types, prose. Licences stay. */
const IDLE_FILES = /\.(?:[cm]?ts|map|md|markdown|c|cc|cpp|h|hh|hpp|flow|proto|gyp|yml|yaml|txt|def)$/i;
const LEGAL = /(?:^|\/)(?:licen[cs]e|notice|copying|copyright)[^/]*$/i;

/** Whether a file of a package has a place in the image, by its path from the package's folder. */
export function isNeeded(relative: string): boolean {
  if (IDLE_FOLDERS.test(relative)) return false;
  return LEGAL.test(relative) || !IDLE_FILES.test(relative);
}
