import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { pluginFile } from '../../../../../agent/kubernetes/cni/files.ts';
import { CniServer, hostPath, parseRequest } from '../../../../../agent/kubernetes/cni/server.ts';
import type { HeldPod } from '../../../../../agent/kubernetes/nri/plugin.ts';
import type { Sandbox } from '../../../../../agent/kubernetes/sandboxes.ts';

const RESULT = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'eth0', mac: '"}]' }],
  ips: [{ address: '10.9.8.7/24' }, { address: 'fd00::7/64' }],
};
const NETNS = `loam-cni-test-${process.pid}`;

/** The plugin itself, as a runtime calls it. */
describe('the CNI plugin', () => {
  const folder = mkdtempSync(join(tmpdir(), 'loam-cni-'));
  const socket = join(folder, 'cni.sock');
  const outside = join(folder, 'outside');
  let server: CniServer | undefined;
  let other: Server | undefined;
  let held: HeldPod[] = [];
  let sandboxes: Sandbox[] = [];
  let removed: string[] = [];
  let refusal: string | undefined;

  before(() => execFileSync('ip', ['netns', 'add', NETNS]));
  after(() => {
    execFileSync('ip', ['netns', 'del', NETNS]);
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    [held, sandboxes, removed, refusal] = [[], [], [], undefined];
    writeFileSync(outside, 'plain\nother\n');
  });
  afterEach(() => {
    server?.close();
    other?.close();
    server = other = undefined;
  });

  /** The plugin does not wait for an answer. */
  async function untilRemoved(): Promise<void> {
    for (let i = 0; i < 100 && removed.length === 0; i += 1)
      await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async function listen(isSpare = false): Promise<void> {
    server = await CniServer.listen({
      path: socket,
      sandboxes: { add: (sandbox) => sandboxes.push(sandbox), remove: (id) => removed.push(id) },
      hold: (pod) => {
        held.push(pod);
        return refusal === undefined ? Promise.resolve() : Promise.reject(new Error(refusal));
      },
      isSpare: () => isSpare,
      log: { debug: () => undefined } as never,
      // Of tests, the host is where they run.
      hostRoot: '',
    });
  }

  const config = (more: object = { prevResult: RESULT }): string =>
    JSON.stringify({
      cniVersion: '1.0.0',
      name: 'cluster',
      type: 'loam-cni',
      socket,
      outside,
      exempt: ['kube-system', 'loam-system'],
      ...more,
    });

  interface Ended {
    readonly code: number;
    readonly said: { code?: number; msg?: string } & Record<string, unknown>;
  }
  function run(
    command: string,
    { namespace = 'shop', input = config(), netns = `/var/run/netns/${NETNS}` } = {},
  ): Promise<Ended> {
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=web;K8S_POD_UID=uid-1`;
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_NETNS: netns, CNI_ARGS: args };
    return new Promise((resolve) => {
      const child = execFile(pluginFile(), { env }, (error, stdout) =>
        resolve({
          code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
          said: stdout === '' ? {} : (JSON.parse(stdout) as Ended['said']),
        }),
      );
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(input);
    });
  }

  it('is one static program for this machine, and says which versions it speaks', async () => {
    const { code, said } = await run('VERSION');
    assert.equal(code, 0);
    assert.ok((said['supportedVersions'] as string[]).includes('1.0.0'));
    assert.throws(() => execFileSync('ldd', [pluginFile()], { stdio: 'pipe' }), /not a dynamic executable/);
  });

  it('lets a pod start when the agent has it, and hands on what the plugin before it said', async () => {
    await listen();
    const { code, said } = await run('ADD');
    assert.equal(code, 0);
    assert.deepEqual(said, RESULT);
    const inode = statSync(`/run/netns/${NETNS}`, { bigint: true });
    const [pod] = held;
    assert.deepEqual([pod?.uid, pod?.namespace, pod?.name], ['uid-1', 'shop', 'web']);
    assert.deepEqual([pod?.labels, pod?.netns?.ino], [undefined, inode.ino]);
    assert.deepEqual(sandboxes, [
      { id: 'c1', pod: 'uid-1', pid: undefined, ips: ['10.9.8.7', 'fd00::7'], netns: `/run/netns/${NETNS}` },
    ]);
  });

  it('holds nobody whom the runtime holds itself', async () => {
    await listen(true);
    refusal = 'it may not';
    assert.deepEqual(await run('ADD'), { code: 0, said: RESULT });
    assert.deepEqual([held, sandboxes], [[], []]);
    assert.equal((await run('DEL')).code, 0);
    await untilRemoved();
    assert.deepEqual(removed, ['c1'], 'it may have come when nobody else held it');
  });

  it('fails with the reason of the agent', async () => {
    await listen();
    refusal = 'Loam holds the pod: the API has not told of "it"\nyet';
    const { code, said } = await run('ADD');
    assert.equal(code, 1);
    assert.deepEqual([said.code, said.msg], [100, "Loam holds the pod: the API has not told of 'it' yet"]);
    const missing = await run('ADD', { netns: '/var/run/netns/there-is-none' });
    assert.match(missing.said.msg ?? '', /ENOENT/);
  });

  it('fails while there is no agent, and says what to look at', async () => {
    const { code, said } = await run('ADD');
    assert.equal(code, 1);
    assert.equal(said.code, 11);
    assert.match(said.msg ?? '', /Loam's agent does not answer on this node.*DaemonSet loam-agent.*: shop$/);
  });

  it('fails when the agent ends before it has answered', async () => {
    other = createServer({ allowHalfOpen: true }, (connection) => {
      connection.resume();
      connection.on('end', () => connection.end());
    });
    rmSync(socket, { force: true });
    await new Promise<void>((resolve) => other?.listen(socket, resolve));
    const { code, said } = await run('ADD');
    assert.deepEqual([code, said.code], [1, 11]);
  });

  it("lets pods of namespaces outside of the mesh start without an agent, and the mesh's own", async () => {
    for (const namespace of ['plain', 'other', 'kube-system', 'loam-system']) {
      const { code, said } = await run('ADD', { namespace });
      assert.equal(code, 0, namespace);
      assert.deepEqual(said, RESULT);
    }
    for (const namespace of ['pla', 'plainer', 'system', 'loam'])
      assert.equal((await run('ADD', { namespace })).code, 1, namespace);
  });

  it('lets pass what is no pod of Kubernetes', async () => {
    assert.equal((await run('ADD', { namespace: '' })).code, 0);
  });

  it('keeps no pod from going, and tells the agent', async () => {
    for (const command of ['DEL', 'CHECK', 'GC', 'STATUS'])
      assert.equal((await run(command)).code, 0, command);
    await listen();
    assert.equal((await run('DEL')).code, 0);
    await untilRemoved();
    assert.deepEqual(removed, ['c1']);
  });

  it('refuses a configuration that is none, or without a network before it', async () => {
    for (const input of [
      '',
      '{',
      '[]',
      '"',
      '{"prevResult":{',
      '{"prevResult":"',
      config({}),
      '\\'.repeat(100),
    ])
      assert.deepEqual([(await run('ADD', { input })).said.code, input], [7, input]);
  });

  it('is asked in a form of which every part is checked', () => {
    const request = parseRequest(
      `ADD\nc1\n/run/netns/x\nA=1;B=x=y\n${JSON.stringify({ prevResult: RESULT })}`,
    );
    assert.deepEqual(request.args, { A: '1', B: 'x=y' });
    assert.deepEqual(request.ips, ['10.9.8.7', 'fd00::7']);
    assert.equal(hostPath('/var/run/netns/x'), '/proc/1/root/run/netns/x');
    assert.equal(hostPath('/run/netns/x'), '/proc/1/root/run/netns/x');
    assert.throws(() => parseRequest('ADD'), /four lines/);
    assert.throws(() => parseRequest('ADD\nc\nn\na\n{'), SyntaxError);
  });
});
