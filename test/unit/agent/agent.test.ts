import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json, text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Readiness, Status } from '../../../agent/status.ts';
import { originalDst } from '../../../lib/linux/bpf/index.ts';
import {
  buffer,
  cookieKey,
  POD_BYTES,
  POD_USE_BYTES,
  RECORD_BYTES,
  TUPLE_BYTES,
} from '../../../lib/linux/bpf/layout.ts';
import { check, closeFd, sys } from '../../../lib/linux/libc.ts';
import { openNetns } from '../../../lib/linux/netns.ts';
import { plainIp } from '../../../lib/mesh/hbone/hbone-headers.ts';
import { bindTo, connectInNetns, tcpSocket } from '../../../lib/linux/socket.ts';
import { siblingModule } from '../../../lib/package-root.ts';
import { pinnedMap } from '../../bpf/support/kernel-objects.ts';
import { ip, makeNetns, removeAllNetns, removeNetns } from '../lib/linux/test-netns.ts';
import { pod } from './fakes.ts';
import { ToyProxy, until } from './zds/toy-proxy.ts';

const MAIN = siblingModule(import.meta.url, '../../../agent/main').pathname;
const POD_IP = '198.18.211.2';
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const CLIENT_IP = '198.18.211.1';

/** What an agent printed and how it ended. */
class AgentProcess {
  readonly #child: ChildProcess;
  readonly ended: Promise<number | string>;
  output = '';

  constructor(args: readonly string[]) {
    this.#child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stdout?.on('data', (chunk) => (this.output += String(chunk)));
    this.#child.stderr?.on('data', (chunk) => (this.output += String(chunk)));
    this.ended = once(this.#child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  }

  kill(signal: NodeJS.Signals): Promise<number | string> {
    this.#child.kill(signal);
    return this.ended;
  }
}

describe('agent on the real kernel', () => {
  let instance: string;
  let dir: string;
  let args: string[];
  let netnsPath: string;
  let client: number;
  let podNetns: number;
  let agents: AgentProcess[];
  let proxies: ToyProxy[];
  let servers: Server[];

  function writePods(...pods: unknown[]): void {
    writeFileSync(join(dir, 'pods.tmp'), JSON.stringify({ pods }));
    renameSync(join(dir, 'pods.tmp'), join(dir, 'pods.json'));
  }

  async function get<T>(path: string): Promise<T> {
    const asked = request({ socketPath: join(dir, 'status'), path }).end();
    const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
    return (await json(response)) as T;
  }

  async function podState(): Promise<Status['pods'][number] | undefined> {
    return (await get<Status>('/status')).pods[0];
  }

  async function podBecomes(state: string | undefined): Promise<void> {
    while ((await podState())?.state !== state) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async function start(): Promise<AgentProcess> {
    const agent = new AgentProcess(args);
    agents.push(agent);
    await until(() => agent.output.includes('"msg":"started"'));
    return agent;
  }

  /** A proxy that answers on each listener with the listener's name and what it knows of the connection. */
  async function startProxy(): Promise<ToyProxy> {
    const proxy = await ToyProxy.greet(join(dir, 'zds'));
    proxies.push(proxy);
    await until(() => proxy.texts().includes('snapshotSent'));
    return proxy;
  }

  function serve(proxy: ToyProxy): void {
    const maps = proxy.received.find(({ text }) => text === 'loamMaps')?.fds ?? [];
    const at = proxy.received.findLastIndex(({ text }) => text.startsWith('add'));
    const [, ...listeners] = proxy.received[at]?.fds ?? [];
    // They are libuv's from here on.
    proxy.received.splice(at, 1, { text: 'adopted', fds: proxy.received[at]?.fds.slice(0, 1) ?? [] });
    listeners.forEach((fd, i) => {
      const name = ['outbound', 'plaintext', 'hbone'][i] ?? '';
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        const accepted = (socket as unknown as { _handle: { fd: number } })._handle.fd;
        const original = name === 'outbound' ? originalDst(maps[1] ?? -1, accepted) : undefined;
        const target = original ?? { ip: plainIp(socket.localAddress), port: socket.localPort };
        socket.end(`${name} ${plainIp(socket.remoteAddress)} to ${target.ip}:${target.port}`);
      });
      servers.push(server);
      server.listen({ fd });
    });
  }

  /** An application inside a namespace. */
  async function serveApplication(netns: number, address: string, port: number): Promise<void> {
    const fd = tcpSocket(netns);
    // As servers do.
    check(sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, Uint8Array.of(1, 0, 0, 0), 4), 'setsockopt', fd);
    bindTo(fd, address, port);
    check(sys.listen(fd, 16), 'listen', fd);
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('application');
    });
    servers.push(server);
    server.listen({ fd });
    await once(server, 'listening');
  }

  const dial = (from: number, to: string, port: number): Socket => connectInNetns(from, to, port);

  async function failure(socket: Socket): Promise<string | undefined> {
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    return error.code;
  }

  beforeEach(() => {
    const [clientNetns, made] = [makeNetns('c'), makeNetns('p')];
    ip(
      '-n',
      clientNetns.name,
      'link',
      'add',
      'eth0',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      made.name,
    );
    for (const [name, address] of [
      [clientNetns.name, CLIENT_IP],
      [made.name, POD_IP],
    ] as const) {
      ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
      ip('-n', name, 'link', 'set', 'eth0', 'up');
    }
    ip('-n', made.name, 'route', 'add', 'default', 'via', CLIENT_IP);
    netnsPath = made.path;
    client = openNetns(clientNetns.path);
    podNetns = openNetns(made.path);
    instance = `lau-${process.pid}`;
    dir = mkdtempSync(join(tmpdir(), 'lau-'));
    const path = (name: string): string => join(dir, name);
    args = ['--instance', instance, '--node', 'node-a', '--pods', path('pods.json')];
    args.push('--zds', path('zds'), '--status', path('status'));
    [agents, proxies, servers] = [[], [], []];
    writePods(pod('a', { netns: netnsPath, ips: [POD_IP] }));
  });

  afterEach(async () => {
    for (const server of servers) server.close();
    for (const proxy of proxies) proxy.close();
    for (const agent of agents) await agent.kill('SIGKILL');
    assert.equal(await new AgentProcess(['--cleanup', '--instance', instance]).ended, 0);
    [client, podNetns].forEach(closeFd);
    removeAllNetns();
    rmSync(dir, { recursive: true });
  });

  it('enrols a pod so that every connection meets the right listener, and shows it', async () => {
    await start();
    await podBecomes('verified');
    serve(await startProxy());
    assert.equal(await text(dial(client, POD_IP, 8080)), `plaintext ${CLIENT_IP} to ${POD_IP}:8080`);
    assert.equal(await text(dial(client, POD_IP, 15008)), `hbone ${CLIENT_IP} to ${POD_IP}:15008`);
    assert.equal(await text(dial(podNetns, '192.0.2.55', 443)), `outbound ${POD_IP} to 192.0.2.55:443`);
    const status = await podState();
    assert.deepEqual(
      [status?.zds.state, status?.uncovered, status?.problem],
      ['acknowledged', [], undefined],
    );
    const readiness = await get<Readiness>('/healthz/ready');
    assert.deepEqual(
      readiness.gates.map(({ name, ready }) => [name, ready]),
      [
        ['pod-source', true],
        ['redirection', true],
        ['reconciled', true],
      ],
    );
  });

  it('lets connections wait while there is no proxy', async () => {
    await start();
    await podBecomes('verified');
    const waiting = dial(podNetns, '192.0.2.55', 443);
    await once(waiting, 'connect');
    serve(await startProxy());
    assert.equal(await text(waiting), `outbound ${POD_IP} to 192.0.2.55:443`);
  });

  it('lets an application start on a port where clients are connected through the mesh', async () => {
    await start();
    await podBecomes('verified');
    serve(await startProxy());
    const connected = dial(client, POD_IP, 8080);
    await once(connected, 'data');
    await serveApplication(podNetns, '0.0.0.0', 8080);
    assert.equal(await text(dial(podNetns, '127.0.0.1', 8080)), 'application');
    connected.destroy();
  });

  it('leaves enforcement in force when it ends, and refuses rather than let plaintext through', async () => {
    await serveApplication(podNetns, '0.0.0.0', 8080);
    await serveApplication(client, CLIENT_IP, 80);
    assert.equal(await text(dial(client, POD_IP, 8080)), 'application');
    assert.equal(await text(dial(podNetns, CLIENT_IP, 80)), 'application');
    const agent = await start();
    await podBecomes('verified');
    assert.equal(await agent.kill('SIGTERM'), 0);
    assert.deepEqual(readdirSync(dir), ['pods.json'], 'its sockets are removed');
    assert.equal(await failure(dial(client, POD_IP, 8080)), 'ECONNREFUSED');
    assert.equal(await failure(dial(podNetns, CLIENT_IP, 80)), 'ECONNREFUSED');
  });

  it('takes over after kill -9, with the proxy’s listeners serving meanwhile and replaced afterwards', async () => {
    const agent = await start();
    await podBecomes('verified');
    const proxy = await startProxy();
    serve(proxy);
    assert.equal(await agent.kill('SIGKILL'), 'SIGKILL');
    assert.match(await text(dial(client, POD_IP, 8080)), /^plaintext/, 'while there is no agent');
    const next = await start();
    await podBecomes('verified');
    // Its log comes by a pipe and may be behind its status.
    await until(() => next.output.includes('took over redirection that was in force'));
    // Until the proxy has the new listeners, connections wait in them.
    const waiting = dial(client, POD_IP, 8080);
    await once(waiting, 'connect');
    serve(await startProxy());
    assert.match(await text(waiting), /^plaintext/);
    assert.match(await text(dial(podNetns, '192.0.2.55', 443)), /^outbound/);
  });

  it('takes nothing with it when it is killed before the proxy has come back to it, however often', async () => {
    const agent = await start();
    await podBecomes('verified');
    serve(await startProxy());
    assert.equal(await agent.kill('SIGKILL'), 'SIGKILL');
    for (let i = 0; i < 3; i += 1) {
      const next = await start();
      await podBecomes('verified');
      assert.equal(await next.kill('SIGKILL'), 'SIGKILL');
      assert.match(await text(dial(client, POD_IP, 8080)), /^plaintext/);
      assert.match(await text(dial(podNetns, '192.0.2.55', 443)), /^outbound/);
    }
  });

  it('puts back what somebody takes out of its maps, and tells and counts it', async () => {
    const agent = await start();
    await podBecomes('verified');
    serve(await startProxy());
    const key = cookieKey(BigInt((await podState())?.netns.cookie ?? 0));
    for (const [name, bytes] of [
      ['pods', POD_BYTES],
      ['pod_uses', POD_USE_BYTES],
    ] as const) {
      using map = pinnedMap({ instance }, name, 8, bytes);
      assert.ok(map.delete(key));
      while ((await get<Status>('/status')).repairs[name] !== 1)
        await new Promise((resolve) => setTimeout(resolve, 20));
      assert.match(await text(dial(podNetns, '192.0.2.55', 443)), /^outbound/);
    }
    await until(() => agent.output.split('put back what somebody had taken away of a pod').length === 3);
    await podBecomes('verified');
  });

  it('names a map that is full in its log, and shows how full each is', async () => {
    const agent = await start();
    await podBecomes('verified');
    serve(await startProxy());
    const cookie = BigInt((await podState())?.netns.cookie ?? 0);
    const { capacity = 0 } = (await get<Status>('/status')).maps['records'] ?? {};
    assert.ok(capacity > 0);
    using map = pinnedMap({ instance }, 'records', TUPLE_BYTES, RECORD_BYTES);
    // Of the pod itself: those of nobody are removed.
    for (let i = 0; i < capacity; i += 1) {
      const record = buffer(TUPLE_BYTES);
      record.writeBigUInt64LE(cookie, 0);
      record.writeUInt32LE(i, 8);
      map.set(record, buffer(RECORD_BYTES));
    }
    assert.deepEqual((await get<Status>('/status')).maps['records'], { entries: capacity, capacity });
    const line = (said: string): RegExp => new RegExp(`"map":"records".*${said}`);
    await until(() => line('a map of the kernel part is nearly full').test(agent.output));
    assert.equal(await failure(dial(podNetns, '192.0.2.55', 443)), 'ECONNREFUSED');
    await until(() => line('connections were refused: the map is full').test(agent.output));
    // In force all the same, for what needs no record.
    assert.match(await text(dial(client, POD_IP, 8080)), /^plaintext/);
  });

  it('refuses to run twice as the same instance', async () => {
    await start();
    const second = new AgentProcess(args);
    assert.equal(await second.ended, 1);
    assert.match(second.output, /another live process/);
    await podBecomes('verified');
  });

  it('follows the file: out of the mesh and in again, a bad entry named, a deleted namespace cleaned', async () => {
    await serveApplication(podNetns, '0.0.0.0', 8080);
    await start();
    await podBecomes('verified');
    writePods(pod('a', { netns: netnsPath, ips: [POD_IP], labels: { 'loam.dev/dataplane-mode': 'none' } }));
    await podBecomes('leaving');
    assert.equal(await text(dial(client, POD_IP, 8080)), 'application');
    writePods(pod('a', { netns: netnsPath, ips: [POD_IP] }));
    await podBecomes('verified');
    writePods({ ...pod('a', { ips: [POD_IP] }), netns: 'relative' });
    for (;;) {
      const { source, pods } = await get<Status>('/status');
      if (source.problems.length === 0) continue;
      const { entry, field, allowed } = source.problems[0] ?? {};
      assert.deepEqual([entry, field, allowed], ['pods[0] shop/a', 'netns', 'an absolute path']);
      assert.equal(pods[0]?.state, 'verified', 'its last good state stays');
      break;
    }
    removeNetns(netnsPath.slice('/run/netns/'.length));
    await podBecomes('waiting');
    assert.equal((await podState())?.problemCode, 'NETNS_MISSING');
    const { kernel } = await get<Status>('/status');
    assert.equal('pods' in kernel && kernel['pods'], 0);
  });

  it('removes everything by --cleanup, also after kill -9', async () => {
    await serveApplication(podNetns, '0.0.0.0', 8080);
    const agent = await start();
    await podBecomes('verified');
    await agent.kill('SIGKILL');
    assert.equal(await failure(dial(client, POD_IP, 8080)), 'ECONNREFUSED');
    assert.equal(await new AgentProcess(['--cleanup', '--instance', instance]).ended, 0);
    const links = execFileSync('bpftool', ['link', 'show', '--bpffs'], { encoding: 'utf8' });
    assert.ok(!links.includes(instance));
    assert.equal(await text(dial(client, POD_IP, 8080)), 'application');
  });

  it('says in one line what is wrong with its configuration', async () => {
    const agent = new AgentProcess([...args, '--instance', 'Not Good']);
    assert.equal(await agent.ended, 2);
    assert.equal(
      agent.output,
      'agent: --instance: "Not Good" is not allowed; allowed: 1 to 32 of a-z, 0-9 and -\n',
    );
  });
});
