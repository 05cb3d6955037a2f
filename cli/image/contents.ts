/** What Loam's image holds: Node, the libraries that it and the FFI need, the compiled programs. Nothing else, no shell. */
import { existsSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import type { Architecture } from './elf.ts';
import { file, folder, text, tree, type Entry } from './entries.ts';
import { ImageError } from './errors.ts';
import { librariesOf } from './libraries.ts';
import {
  importedPackages,
  isNeeded,
  modulesIn,
  NPM_CPU,
  packagesOf,
  withImports,
  type NpmPackage,
} from './npm-packages.ts';
import { packagesOwning, type SystemPackage } from './system-packages.ts';

export const NODE_PATH = '/usr/local/bin/node';
export const APP = '/app';
/** What of dist/ runs in a cluster; the command line is for people's machines, but for what Helm runs when it uninstalls. */
const MODULES = ['agent', 'controller', 'lib', 'proto', 'waypoint', 'ztunnel'] as const;
const HELM_HOOK = 'cli/install/helm-hook/main.js';
/** Opened at run time, by lib/linux/bpf. */
const OPENED = ['libbpf.so.1'];
/** The user of programs that need nothing of root's. The chart says which these are. */
const NOBODY = 65532;

/** Where the parts are taken from. */
export interface Sources {
  readonly architecture: Architecture;
  /** The folder of Loam's package.json, with a current dist/. */
  readonly packageRoot: string;
  /** Folders in place of `node_modules`, the first that has a package wins. */
  readonly modules: readonly string[];
  /** The system whose libraries are taken: `/`, or a folder with another one's files. */
  readonly systemRoot: string;
}

export interface Contents {
  /** Changes when Node or the system's libraries do. */
  readonly base: readonly Entry[];
  /** Changes with every build of Loam. */
  readonly app: readonly Entry[];
  readonly version: string;
  readonly license: string;
  readonly npm: readonly NpmPackage[];
  readonly system: readonly SystemPackage[];
}

/** Gathers the image's files. @throws ImageError IMAGE_FILE naming what is missing */
export function contentsOf(sources: Sources): Contents {
  const { architecture, packageRoot, modules, systemRoot } = sources;
  const dist = join(packageRoot, 'dist');
  if (!existsSync(join(dist, '.built')))
    throw new ImageError('IMAGE_FILE', `${dist} holds no build: ./loam --version makes one`);
  const { version, license } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string;
    license: string;
  };

  const lock = join(packageRoot, 'package-lock.json');
  const runtime = `node-linux-${NPM_CPU[architecture]}`;
  const hook = withImports(join(dist, HELM_HOOK)).filter((path) => path.startsWith(join(dist, 'cli/')));
  const imported = importedPackages([...MODULES.flatMap((name) => modulesIn(join(dist, name))), ...hook]);
  const npm = packagesOf([...imported, runtime], lock, modules, architecture);
  const node = npm.find((one) => one.name === runtime);
  if (node === undefined) throw new ImageError('IMAGE_FILE', `${lock} has no ${runtime}`);
  const nodeBinary = join(node.folder, 'bin', 'node');

  const packageEntries = npm
    .filter((one) => one !== node)
    .flatMap((one) => tree(posix.join(APP, one.place), one.folder, isNeeded));
  const addons = packageEntries.flatMap((entry) =>
    entry.kind === 'file' && typeof entry.from === 'string' && entry.path.endsWith('.node')
      ? [entry.from]
      : [],
  );
  const libraries = librariesOf([nodeBinary, ...addons], OPENED, systemRoot, architecture);
  const system = packagesOwning(
    libraries.map((entry) => entry.path),
    systemRoot,
  );

  return {
    version,
    license,
    npm,
    system,
    base: [
      ...skeleton(),
      file(NODE_PATH, nodeBinary),
      file('/usr/share/doc/node/LICENSE', join(node.folder, 'LICENSE')),
      ...libraries,
      ...system.flatMap(records),
    ],
    app: [
      text(
        `${APP}/package.json`,
        `${JSON.stringify({ name: 'loam', version, license, type: 'module' }, null, 2)}\n`,
      ),
      file(`${APP}/LICENSE`, join(packageRoot, 'LICENSE')),
      ...MODULES.flatMap((name) => tree(`${APP}/dist/${name}`, join(dist, name))),
      ...hook
        .flatMap((path) => [path, ...[`${path}.map`].filter(existsSync)])
        .map((path) => file(posix.join(APP, 'dist', relative(dist, path)), path)),
      ...tree(`${APP}/bpf`, join(packageRoot, 'bpf'), (path) => path.endsWith('.bpf.o')),
      file(`${APP}/cni/loam-cni.${architecture}`, join(packageRoot, 'cni', `loam-cni.${architecture}`)),
      ...packageEntries,
    ],
  };
}

/** The least that libc and Kubernetes expect to find. */
function skeleton(): Entry[] {
  return [
    text('/etc/passwd', `root:x:0:0:root:/:/sbin/nologin\nloam:x:${NOBODY}:${NOBODY}:loam:/:/sbin/nologin\n`),
    text('/etc/group', `root:x:0:\nloam:x:${NOBODY}:\n`),
    text('/etc/nsswitch.conf', 'hosts: files dns\n'),
    folder('/tmp', 0o1777),
    ...['/dev', '/proc', '/run', '/sys'].map((path) => folder(path)),
  ];
}

function records({ name, status, copyright }: SystemPackage): Entry[] {
  return [
    text(`/var/lib/dpkg/status.d/${name}`, status),
    ...(copyright === undefined ? [] : [file(`/usr/share/doc/${name}/copyright`, copyright)]),
  ];
}
