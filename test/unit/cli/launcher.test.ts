import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { packageRoot } from '../../../lib/package-root.ts';

/** Stands for Node, its compiler and the command line: says where it runs and with what. */
const NODE = `#!/bin/sh
case "$*" in
'-p process.versions.node') echo 99.0.0 ;;
*/bin/tsc*) echo compiled; for last; do :; done; mkdir -p "$last/cli" ;;
*build.mjs*) ;;
*) echo "in $(pwd)"; shift 2; echo "with $*" ;;
esac
`;
const NOBODY = 65534;

/** The launcher in a clone of nothing else, so that no test builds, installs or needs a mesh. */
describe('./loam, the launcher', function () {
  this.timeout(60_000);
  let folder: string;
  let clone: string;
  let elsewhere: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-launcher-'));
    clone = join(folder, 'clone');
    elsewhere = join(folder, 'else where');
    const bin = join(clone, 'node_modules', `node-linux-${process.arch}`, 'bin');
    for (const each of [bin, elsewhere, join(clone, 'dist'), join(clone, 'lib'), join(clone, 'proto', 'gen')])
      mkdirSync(each, { recursive: true });
    chmodSync(folder, 0o755);
    copyFileSync(join(packageRoot(), 'loam'), join(clone, 'loam'));
    writeFileSync(join(bin, 'node'), NODE, { mode: 0o755 });
    writeFileSync(join(clone, 'package.json'), '{ "engines": { "node": ">=26.0.0" } }');
    writeFileSync(join(clone, 'package-lock.json'), '{}');
    const sum = spawnSync('sh', ['-c', "cksum package-lock.json package.json | cksum | tr ' ' '-'"], {
      cwd: clone,
      encoding: 'utf8',
    }).stdout;
    writeFileSync(join(clone, 'node_modules', '.loam-installed'), sum);
    fresh();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  function fresh(): void {
    writeFileSync(join(clone, 'dist', '.built'), '');
    const past = new Date(Date.now() - 60_000);
    for (const each of ['lib', 'proto', 'proto/gen', 'package-lock.json'])
      utimesSync(join(clone, each), past, past);
  }

  interface Said {
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  }

  function launch(...args: string[]): Said {
    const { status, stdout, stderr } = spawnSync('../clone/loam', args, { cwd: elsewhere, encoding: 'utf8' });
    return { code: status, stdout, stderr };
  }

  /**
   * As a user without rights, on a machine of its own: whether a local mesh runs there, and whether it has sudo, which only says
   * what it is asked.
   */
  function asNobody(machine: { mesh?: boolean; sudo?: boolean }, ...args: string[]): Said {
    const sudo = join(folder, 'sudo-bin');
    mkdirSync(sudo, { recursive: true });
    writeFileSync(join(sudo, 'sudo'), '#!/bin/sh\necho "asked sudo: $*"\n', { mode: 0o755 });
    const script = `
      mount -t tmpfs none /run && mkdir -p /run/netns /run/loam && chmod 700 /run/loam || exit 99
      [ "$1" = no ] || : >/run/netns/loam-local-fabric
      [ "$2" = yes ] || for each in /usr/bin/sudo /bin/sudo /usr/local/bin/sudo; do
        [ ! -e "$each" ] || mount --bind /dev/null "$each"
      done
      shift 2
      exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups -- ../clone/loam "$@"`;
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [
        ...['--mount', 'sh', '-c', script, 'sh'],
        ...[machine.mesh === true ? 'yes' : 'no', machine.sudo === true ? 'yes' : 'no', ...args],
      ],
      {
        cwd: elsewhere,
        encoding: 'utf8',
        env: {
          ...process.env,
          PATH: `${machine.sudo === true ? `${sudo}:` : ''}/usr/local/bin:/usr/bin:/bin`,
        },
      },
    );
    return { code: status, stdout, stderr };
  }

  it('leaves the caller where he stands, so that his paths mean what he means', () => {
    const { code, stdout, stderr } = launch('policy', 'test', 'exp.yaml', '--kubeconfig', './config');
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `in ${elsewhere}\nwith policy test exp.yaml --kubeconfig ./config\n`);
    const linked = spawnSync('sh', ['-c', `ln -sf ../clone/loam ./linked && ./linked status --context x`], {
      cwd: elsewhere,
      encoding: 'utf8',
    });
    assert.equal(linked.stdout, `in ${elsewhere}\nwith status --context x\n`, linked.stderr);
  });

  it('runs nothing that lies in the folder of its caller, whatever PATH says', () => {
    const planted = ['uname', 'id', 'readlink', 'node', 'cksum', 'apt-get', 'dnf'].map((name) =>
      join(elsewhere, name),
    );
    for (const each of planted) writeFileSync(each, '#!/bin/sh\necho PLANTED >&2\n', { mode: 0o755 });
    try {
      for (const path of [
        `:${process.env['PATH']}`,
        `.:${process.env['PATH']}`,
        '',
        `./:*:${process.env['PATH']}:`,
      ]) {
        const { status, stdout, stderr } = spawnSync('../clone/loam', ['status', '--context', 'x'], {
          ...{ cwd: elsewhere, encoding: 'utf8' },
          env: { ...process.env, PATH: path },
        });
        assert.doesNotMatch(stderr, /PLANTED/, JSON.stringify(path));
        assert.equal(status, 0, stderr);
        assert.equal(stdout, `in ${elsewhere}\nwith status --context x\n`);
      }
    } finally {
      for (const each of planted) rmSync(each);
    }
  });

  it('needs no root for a cluster, though the folder of local meshes is there', () => {
    for (const args of [['status'], ['why', 'a', 'b'], ['tap'], ['certs'], ['status', '--kubeconfig', 'f']]) {
      const { code, stdout, stderr } = asNobody({}, ...args);
      assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
      assert.equal(stdout, `in ${elsewhere}\nwith ${args.join(' ')}\n`);
    }
  });

  it('asks for root where a local mesh runs or is named, and says how the cluster is named', () => {
    const here = asNobody({ mesh: true }, 'status');
    assert.equal(here.code, 1);
    assert.match(
      here.stderr,
      /needs root.* as root run: .*loam status; or name the cluster: --kubeconfig FILE/,
    );
    const withSudo = asNobody({ mesh: true, sudo: true }, 'status');
    assert.match(withSudo.stderr, /going on with sudo; or name the cluster: --kubeconfig FILE/);
    assert.match(withSudo.stdout, /asked sudo: -- .*clone\/loam status/);
    assert.match(
      asNobody({}, 'off', 'pod', 'a/b').stderr,
      /needs root.*; it is of a local mesh, in a cluster: kubectl label namespace /,
    );
    assert.equal(asNobody({ mesh: true }, 'status', '--context=staging').code, 0);
    for (const args of [['status', '--name', 'demo'], ['local', 'up', '.'], ['demo']]) {
      const { code, stderr } = asNobody({}, ...args);
      assert.equal(code, 1, args.join(' '));
      assert.match(stderr, /needs root/);
      assert.doesNotMatch(stderr, /name the cluster/);
    }
  });

  it('tells its version and its help to anybody', () => {
    for (const args of [['--version'], ['demo', '--help'], ['help', 'tap']])
      assert.equal(asNobody({ mesh: true }, ...args).code, 0, args.join(' '));
    assert.equal(asNobody({}, 'local', 'exec', 'a/b', '--', 'curl', '--help').code, 1);
  });

  it('waits for another that builds only when there is something to build', async () => {
    const holder = spawn('flock', ['package.json', 'sh', '-c', 'echo held; exec cat'], {
      cwd: clone,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    try {
      const free = launch('status', '--context', 'x');
      assert.equal(free.code, 0);
      assert.doesNotMatch(free.stderr, /waiting/);
      writeFileSync(join(clone, 'lib', 'newer.ts'), '');
      const stale = new Date(Date.now() - 120_000);
      utimesSync(join(clone, 'dist', '.built'), stale, stale);
      const waiting = spawn('../clone/loam', ['status', '--context', 'x'], { cwd: elsewhere, stdio: 'pipe' });
      let said = '';
      waiting.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
      while (!said.includes('waiting')) await once(waiting.stderr, 'data');
      // The other one has built meanwhile.
      rmSync(join(clone, 'lib', 'newer.ts'));
      fresh();
      holder.stdin.end();
      const [code] = (await once(waiting, 'exit')) as [number];
      assert.equal(code, 0, said);
      assert.doesNotMatch(said, /loam: building/);
    } finally {
      holder.kill();
    }
  });

  it('builds what is stale, and says to who may not that its owner has to', () => {
    writeFileSync(join(clone, 'lib', 'newer.ts'), '');
    const stale = new Date(Date.now() - 120_000);
    utimesSync(join(clone, 'dist', '.built'), stale, stale);
    const refused = asNobody({}, 'status');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /you may not write in .*clone; let its owner run: .*loam --version/);
    const { code, stderr, stdout } = launch('status', '--context', 'x');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /loam: building\ncompiled/);
    assert.match(stdout, /^in .*else where\n/);
    rmSync(join(clone, 'lib', 'newer.ts'));
  });
});
