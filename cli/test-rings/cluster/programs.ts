/** The programs of a cluster, each built once from its Go module at the version that go.mod and go.sum pin. */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { errorText } from '../../../lib/loam-error.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { ClusterError } from './errors.ts';

/** The version of k8s.io/kubernetes in go/kubernetes/go.mod: programs say it of themselves, and clients read it. */
export const KUBERNETES_VERSION = 'v1.34.4';

interface Program {
  /** Folder of the module, beside this file. */
  readonly module: string;
  readonly name: string;
  /** Import path. */
  readonly path: string;
  /** A suite of tests, made a program of. */
  readonly isTest?: true;
  /** Its sources beside main.go. */
  readonly sources?: readonly string[];
  readonly tags?: string;
  readonly ldflags?: readonly string[];
  /** Names that it is called by as well. */
  readonly calledAlso?: readonly string[];
}

const KUBERNETES: Program = {
  module: 'kubernetes',
  name: 'kubernetes',
  path: '.',
  // Without the tags' packages the linker drops what nobody calls.
  tags: 'grpcnotrace,notest',
  ldflags: ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((path) => [
    `-X ${path}.gitVersion=${KUBERNETES_VERSION}`,
    `-X ${path}.gitMajor=${KUBERNETES_VERSION.slice(1).split('.')[0]}`,
    `-X ${path}.gitMinor=${KUBERNETES_VERSION.split('.')[1]}`,
    `-X ${path}.gitTreeState=clean`,
  ]),
  calledAlso: [
    'kube-apiserver',
    'kube-controller-manager',
    'kube-proxy',
    'kube-scheduler',
    'kubectl',
    'kubelet',
  ],
};
const CONTAINERD = 'github.com/containerd/containerd/v2/cmd';
/** What a cluster consists of. */
const PROGRAMS: readonly Program[] = [
  { module: 'pause', name: 'pause', path: '.' },
  ...['containerd', 'containerd-shim-runc-v2', 'ctr'].map((name) => ({
    module: 'containerd',
    name,
    path: `${CONTAINERD}/${name}`,
  })),
  { module: 'etcd', name: 'etcd', path: 'go.etcd.io/etcd/server/v3' },
  { module: 'coredns', name: 'coredns', path: '.', tags: 'grpcnotrace' },
  KUBERNETES,
];
/** The Gateway API's conformance suite, and the application that it calls. */
export const CONFORMANCE_PROGRAMS: readonly Program[] = [
  { module: 'echo', name: 'echo', path: '.', sources: ['client.go', 'grpc.go', 'server.go'] },
  {
    ...{ module: 'conformance', name: 'conformance', path: '.' },
    ...{ isTest: true, sources: ['conformance_test.go'] },
  },
];

/** As many compilers as this at once: each takes up to a gigabyte. */
const PARALLEL = '2';
const LINES_OF_FAILURE = 15;

/**
 * Builds what is not there yet. What a run that was ended had compiled stays in Go's own cache, so the next goes on from there.
 *
 * @param cache folder that keeps the programs between runs
 * @returns folder with all programs by their names
 * @throws ClusterError CLUSTER_BUILD with the compiler's last words
 */
export async function buildPrograms(
  cache: string,
  say: (text: string) => void,
  programs = PROGRAMS,
): Promise<string> {
  const all = createHash('sha256');
  for (const program of programs) all.update(fingerprint(program));
  const folder = join(cache, `programs-${all.digest('hex').slice(0, 16)}`);
  mkdirSync(folder, { recursive: true });
  for (const program of programs) {
    const file = join(folder, program.name);
    if (!existsSync(file)) {
      const started = Date.now();
      say(`building ${program.name}`);
      await build(program, file);
      say(`built ${program.name} in ${Math.round((Date.now() - started) / 1000)} s`);
    }
    for (const name of program.calledAlso ?? [])
      if (!existsSync(join(folder, name))) symlinkSync(program.name, join(folder, name));
  }
  return folder;
}

/** Where the module's sources are: they are data, not compiled into dist/. */
function sourcesOf({ module }: Program): string {
  return join(packageRoot(), 'cli', 'test-rings', 'cluster', 'go', module);
}

function fingerprint(program: Program): string {
  const names = ['go.mod', 'go.sum', 'main.go', ...(program.sources ?? [])];
  const files = names.map((file) => join(sourcesOf(program), file));
  const contents = files.filter((file) => existsSync(file)).map((file) => readFileSync(file, 'utf8'));
  return JSON.stringify([program, contents]);
}

async function build(program: Program, file: string): Promise<void> {
  const { path, tags = '', ldflags = [], isTest } = program;
  const fresh = `${file}.${process.pid}`;
  const args = [
    ...(isTest === true ? ['test', '-c'] : ['build', '-trimpath']),
    ...['-mod=readonly', '-buildvcs=false', '-p', PARALLEL, '-tags', tags],
  ];
  try {
    const said = await go(
      [...args, '-ldflags', ['-s -w', ...ldflags].join(' '), '-o', fresh, path],
      sourcesOf(program),
      file,
    );
    if (said !== undefined)
      throw new ClusterError(
        'CLUSTER_BUILD',
        `${program.name} could not be built (it needs Go 1.26 or newer in PATH): ${said}`,
      );
    // Whole or not at all. Another run may have built it meanwhile.
    if (!existsSync(file)) renameSync(fresh, file);
  } finally {
    rmSync(fresh, { force: true });
  }
}

/**
 * A file of a module that a program of ours is built from.
 *
 * @throws ClusterError CLUSTER_BUILD where the module is not there
 */
export async function fileOfModule(program: string, module: string, file: string): Promise<string> {
  const cwd = join(packageRoot(), 'cli', 'test-rings', 'cluster', 'go', program);
  try {
    const args = ['list', '-mod=readonly', '-m', '-f', '{{.Dir}}', module];
    const { stdout } = await promisify(execFile)('go', args, { cwd, env: { ...process.env, GOFLAGS: '' } });
    return readFileSync(join(stdout.trim(), file), 'utf8');
  } catch (cause) {
    throw new ClusterError('CLUSTER_BUILD', `${file} of ${module} cannot be had: ${errorText(cause)}`, {
      cause,
    });
  }
}

/** Runs the rest of its arguments as Go's, unless the program that its first one names is there by now. */
const GO_UNLESS_BUILT = '[ -e "$1" ] && exit 0; shift; exec nice -n 10 go "$@"';

/**
 * One at a time in a cache: two runs that start from nothing would each compile all of Kubernetes.
 *
 * @returns the last lines that it said when it failed
 */
function go(args: readonly string[], cwd: string, built: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const lock = join(dirname(built), 'building.lock');
    const child = spawn('flock', [lock, 'sh', '-c', GO_UNLESS_BUILT, 'sh', built, ...args], {
      cwd,
      env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-20_000)));
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code) =>
      resolve(code === 0 ? undefined : said.trim().split('\n').slice(-LINES_OF_FAILURE).join('\n')),
    );
  });
}
