import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { installed, SYSTEM } from '../support/installation.ts';
import { greeted, lookAt, MAIN, viewerKubeconfig, viewing } from '../support/look.ts';
import type { KubeObject } from '../support/resources.ts';

describe('the commands that look at a mesh, in a cluster', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'look';
  const folder = mkdtempSync(join(tmpdir(), 'loam-look-'));
  const look = lookAt(cluster);
  const objects = greeted(ns);
  let client: TestPod;
  let server: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    [[server], [client]] = (await Promise.all([
      cluster.readyPods(ns, 'app=server'),
      cluster.readyPods(ns, 'app=client'),
    ])) as [[TestPod], [TestPod]];
  });
  after(async () => {
    await cluster.remove(...objects);
    rmSync(folder, { recursive: true, force: true });
  });

  async function json(...args: readonly string[]): Promise<Record<string, unknown>> {
    const { out, err } = await look([...args, '-o', 'json']);
    assert.notEqual(out, '', err);
    return JSON.parse(out) as Record<string, unknown>;
  }

  const nameOf = ({ metadata }: TestPod): string => `${metadata.namespace}/${metadata.name}`;

  /** What the connection itself does. */
  async function reaches(port: number): Promise<boolean> {
    const dial = `const s = require('node:net').connect({ host: 'server.${ns}', port: ${port} });
      s.on('error', () => undefined).on('connect', () => s.write('GET / HTTP/1.0\\r\\n\\r\\n'));
      s.once('data', () => { console.log('yes'); process.exit(0); });
      s.on('close', () => { console.log('no'); process.exit(0); });`;
    return (await cluster.inPod(client, ['/usr/local/bin/node', '-e', dial])).trim() === 'yes';
  }

  it('status tells the programs and the pods that are in the mesh', async () => {
    const status = (await json('status')) as {
      programs: { program: string; problem?: string }[];
      pods: { namespace: string; name: string; state: string }[];
    };
    const programs = status.programs.filter(({ problem }) => problem === undefined);
    for (const program of ['controller', 'agent', 'ztunnel'])
      assert.ok(
        programs.some((each) => each.program === program),
        JSON.stringify(status),
      );
    const own = status.pods.filter((each) => each.namespace === ns);
    assert.deepEqual(
      own.map(({ name, state }) => `${ns}/${name} ${state}`).sort(),
      [client, server].map((pod) => `${nameOf(pod)} verified`).sort(),
    );
    assert.match((await look(['status', '-n', ns])).out, new RegExp(`${client.metadata.name} .*verified`));
  });

  it('why agrees with what connections do', async () => {
    for (const port of [80, 7000]) {
      const expected = port === 80;
      await cluster.until(
        `port ${port} is as the policy has it`,
        async () => (await reaches(port)) === expected,
      );
      const { code, out, err } = await look(['why', nameOf(client), `service/${ns}/server:${port}`]);
      assert.equal(code, expected ? 0 : 3, `${out}${err}`);
      if (!expected) assert.match(out, /no-greeting/);
    }
  });

  it('describe pod tells its identity, and what the kernel says of it', async () => {
    const { code, out, err } = await look(['describe', 'pod', server.metadata.name, '-n', ns]);
    assert.equal(code, 0, `${out}${err}`);
    assert.match(out, new RegExp(`cluster.local/ns/${ns}/sa/default`));
    assert.match(out, /enrolled/);
    assert.match(out, /no-greeting/);
  });

  describe('while a connection is open', () => {
    let open: ReturnType<TestCluster['startInPod']>;

    before(async () => {
      const hold = `const s = require('node:net').connect({ host: 'server.${ns}', port: 80 });
        const ask = () => s.write('POST / HTTP/1.1\\r\\nHost: server\\r\\nContent-Length: 2\\r\\n\\r\\nhi');
        s.on('connect', () => setInterval(ask, 200));`;
      open = cluster.startInPod(client, ['/usr/local/bin/node', '-e', hold]);
      await cluster.until('both nodes tell it', async () => (await connections()).length >= 2);
    });
    after(() => open.kill());

    /** What the page asks for, with the token of its address. */
    async function stateOf({ origin, hash }: URL): Promise<string> {
      const headers = { authorization: `Bearer ${hash.replace('#token=', '')}` };
      const answers = await Promise.all(
        ['state', 'catalog'].map((name) => fetch(`${origin}/api/${name}`, { headers })),
      );
      assert.deepEqual(
        answers.map(({ status }) => status),
        [200, 200],
      );
      return (await Promise.all(answers.map((answer) => answer.text()))).join('\n');
    }

    async function connections(): Promise<{ direction: string; node: string }[]> {
      const found = await json('connections', '--pod', nameOf(server));
      return found['connections'] as { direction: string; node: string }[];
    }

    it('connections tells it, once by the node of each end', async () => {
      assert.deepEqual((await connections()).map(({ direction, node }) => `${direction} ${node}`).sort(), [
        'inbound node2',
        'outbound node1',
      ]);
    });

    it('certs tells who holds which certificate', async () => {
      const { certificates } = (await json('certs')) as {
        certificates: { holder: string; identity: string; state: string }[];
      };
      const own = certificates.filter(({ identity }) => identity.includes(`/ns/${ns}/`));
      assert.deepEqual(own.map(({ holder, state }) => `${holder} ${state}`).sort(), [
        'ztunnel of node1 valid',
        'ztunnel of node2 valid',
      ]);
    });

    it('config dump tells what a node goes by, and diff that nodes are of one mind', async () => {
      const { out } = await look(['config', 'dump', 'ztunnel/node2', '--section', 'policies']);
      assert.match(out, /no-greeting/);
      await cluster.until(
        'nodes hold the same',
        async () => (await look(['config', 'diff', 'ztunnel/node1', 'ztunnel/node2'])).code === 0,
      );
    });

    it('tap tells a denial as it happens, and its policy', async () => {
      const told = look(['tap', '-n', ns, '--verdict', 'denied', '--count', '1', '-o', 'json']);
      let ended = false;
      void told.then(() => (ended = true));
      await cluster.until('it was told', async () => {
        await reaches(7000);
        return ended;
      });
      const { code, out, err } = await told;
      assert.equal(code, 0, err);
      const event = JSON.parse(out) as { destination: { workload?: string } };
      assert.match(JSON.stringify(event), /no-greeting/);
    });

    it('graph and top tell who calls whom', async () => {
      for (const command of [
        ['graph', '--for', '10', '-n', ns, '-o', 'json'],
        ['top', '--once', '-o', 'json'],
      ]) {
        const { out, err } = await look(command);
        const { edges } = JSON.parse(out) as { edges: { from: string; to: string }[] };
        assert.ok(
          edges.some(({ from, to }) => from.startsWith(`${ns}/client`) && to.startsWith(`${ns}/server`)),
          `${out}${err}`,
        );
      }
    });

    it('log-level changes it in a program of each kind, by the way that there is to it', async () => {
      for (const program of ['controller', 'agent/node1', 'ztunnel/node1']) {
        assert.match((await look(['log-level', program, 'debug'])).out, /debug/);
        assert.match((await look(['log-level', program])).out, /debug/);
        assert.match((await look(['log-level', program, 'info'])).out, /info/);
      }
    });

    it('dashboard serves on this machine what the user may see', async () => {
      const dashboard = spawn(process.execPath, [MAIN, 'dashboard', '--kubeconfig', cluster.kubeconfig]);
      try {
        let said = '';
        dashboard.stdout.on('data', (part: Buffer) => (said += part.toString()));
        dashboard.stderr.on('data', (part: Buffer) => (said += part.toString()));
        const address = (): string | undefined => /http:\/\/\S+/.exec(said)?.[0];
        await cluster.until(`it says where: ${said}`, () => address() !== undefined);
        const page = new URL(address() ?? '');
        assert.equal(page.hostname, '127.0.0.1');
        await cluster.until('it shows the call', async () => {
          const state = await stateOf(page);
          return (
            state.includes(`${ns}/client`) && state.includes(`${ns}/server`) && state.includes('no-greeting')
          );
        });
      } finally {
        dashboard.kill();
      }
    });
  });

  describe('asked with few rights', () => {
    const kubeconfig = join(folder, 'viewer');

    before(async () => {
      await viewerKubeconfig(cluster, ns, kubeconfig);
    });

    it('say what is left out, and which right it needs', async () => {
      const { code, out, err } = await look(['describe', 'pod', server.metadata.name, '-n', ns], kubeconfig);
      assert.equal(code, 3, `${out}${err}`);
      assert.match(
        err,
        /left out: you have no right to list pods and services in all namespaces: only those of look are shown/,
      );
      assert.match(out, new RegExp(nameOf(server)));
    });

    it('tell nothing for certain that they could not ask', async () => {
      const { code, out, err } = await look(['why', nameOf(client), `service/${ns}/server:80`], kubeconfig);
      assert.equal(code, 1, `${out}${err}`);
      assert.match(err, /it cannot be told: agent of node1 cannot be found: you have no right to list pods/);
      const more = (verbs: readonly string[]): KubeObject[] =>
        viewing(ns, SYSTEM, [{ apiGroups: [''], resources: ['pods'], verbs }]);
      await cluster.apply(...more(['get', 'list']));
      try {
        await cluster.until('the right to forward ports is what is missing', async () => {
          const again = await look(['why', nameOf(client), `service/${ns}/server:80`], kubeconfig);
          return (
            again.code === 1 && again.err.includes(`no right to forward ports to pods of namespace ${SYSTEM}`)
          );
        });
      } finally {
        await cluster.remove(...more([]));
      }
    });
  });

  it('bug-report holds what helps, and no key of the authority', async () => {
    const file = join(folder, 'report.tar.gz');
    const { code, err } = await look(['bug-report', '--file', file]);
    assert.equal(code, 0, err);
    execFileSync('tar', ['xzf', file, '-C', folder]);
    const read = (path: string): string => readFileSync(join(folder, path), 'utf8');
    assert.match(read('status.txt'), new RegExp(`Loam in namespace ${SYSTEM}`));
    assert.match(read('objects/AuthorizationPolicy.yaml'), /name: no-greeting/);
    assert.match(read('programs/ztunnel-of-node2.json'), /no-greeting/);
    const [controller] = await cluster.pods(SYSTEM, 'app.kubernetes.io/name=loam-controller');
    assert.match(read(`log/${SYSTEM}/${controller?.metadata.name ?? ''}.log`), /"msg":/);
    const { data } = await cluster.client.get<{ data: Record<string, string> }>(
      `/api/v1/namespaces/${SYSTEM}/secrets/loam-ca`,
    );
    const key = Buffer.from(data['ca-key.pem'] ?? '', 'base64').toString();
    const [, body = ''] = key.split('\n');
    assert.ok(body.length > 40);
    const all = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.gz'))
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
      .join('\n');
    for (const secret of [body, data['ca-key.pem'] ?? '', 'PRIVATE KEY-----'])
      assert.ok(!all.includes(secret), 'a key of the authority is in it');
  });

  it('say what to do where there is no Loam', async () => {
    const { code, err } = await look(['status', '--system-namespace', 'nowhere']);
    assert.equal(code, 1);
    assert.match(err, /no Loam in namespace nowhere .*loam install/);
  });
});
