import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { check, closeFd, dup, sys } from '../../../../lib/linux/libc.ts';
import { inNetns, openNetns } from '../../../../lib/linux/netns.ts';
import {
  adoptUnconnected,
  bindTo,
  connectInNetns,
  isListening,
  listenSteered,
  localAddress,
  peerAddress,
  setKeepAlive,
  STEERED_LISTENER_ADDRESS,
  tcpSocket,
} from '../../../../lib/linux/socket.ts';
import { ip, makeNetns, removeAllNetns } from './test-netns.ts';

async function failure(socket: Socket): Promise<string> {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code ?? '';
}

describe('sockets of a pod', () => {
  let name: string;
  let netns: number;
  let servers: Server[];

  /** A server inside the namespace, on an address that can be dialled. */
  async function serve(onConnection: (socket: Socket) => void, address = '127.0.0.1'): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, onConnection);
    servers.push(server);
    const fd = tcpSocket(netns);
    bindTo(fd, address, 0);
    check(sys.listen(fd, 16), 'listen', fd);
    server.listen({ fd });
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  beforeEach(() => {
    const made = makeNetns('s');
    name = made.name;
    netns = openNetns(made.path);
    servers = [];
  });

  afterEach(async () => {
    for (const server of servers) await new Promise((resolve) => server.close(resolve));
    closeFd(netns);
    removeAllNetns();
  });

  it('listens in a namespace whose whole range of ports is taken', () => {
    execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=40000 40001']);
    const squatters = [40000, 40001].map((port) => {
      const fd = tcpSocket(netns);
      bindTo(fd, '0.0.0.0', port);
      check(sys.listen(fd, 1), 'listen', fd);
      return fd;
    });
    const fds = [1, 2, 3].map(() => listenSteered({ netnsFd: netns }));
    assert.deepEqual(fds.map(isListening), [true, true, true]);
    [...squatters, ...fds].forEach(closeFd);
  });

  it('tells a listener that a process of the pod destroyed', () => {
    const fds = [1, 2].map(() => listenSteered({ netnsFd: netns }));
    assert.deepEqual(fds.map(isListening), [true, true]);
    const port = localAddress(fds[0] ?? -1).port;
    execFileSync('ip', ['netns', 'exec', name, 'ss', '--kill', '-ltn', `sport = :${port}`]);
    assert.deepEqual(fds.map(isListening), [false, true]);
    fds.forEach(closeFd);
  });

  it('makes listeners that nobody can dial, whatever routes a pod sets up', async () => {
    const fd = listenSteered({ netnsFd: netns });
    const { ip: address, port } = localAddress(fd);
    assert.equal(address, STEERED_LISTENER_ADDRESS);
    assert.equal(await failure(connectInNetns(netns, '127.0.0.1', port)), 'ECONNREFUSED');
    assert.match(await failure(connectInNetns(netns, address, port)), /ENETUNREACH|EINVAL/);
    // A privileged pod may try to make the address its own.
    ip('-n', name, 'route', 'add', 'default', 'dev', 'lo');
    ip('-n', name, 'route', 'add', 'local', `${address}/32`, 'dev', 'lo');
    try {
      ip('-n', name, 'addr', 'add', `${address}/32`, 'dev', 'lo');
    } catch {
      // Some versions of ip refuse the address themselves.
    }
    assert.match(await failure(connectInNetns(netns, address, port)), /ENETUNREACH|EINVAL|EACCES/);
    closeFd(fd);
  });

  it('makes them non-blocking, close-on-exec and in the namespace', () => {
    const fd = listenSteered({ netnsFd: netns, backlog: 7 });
    const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    assert.equal(flags, '02004002');
    const listed = execFileSync('ip', ['netns', 'exec', name, 'ss', '-Hltn'], { encoding: 'utf8' });
    assert.match(listed, new RegExp(`LISTEN 0 +7 +\\[::ffff:255.255.255.255\\]:${localAddress(fd).port} `));
    closeFd(fd);
    assert.throws(() => closeFd(fd), { code: 'SYSTEM_CALL', errno: 'EBADF', call: 'close' });
  });

  it('gives each listener a port of its own, and leaves fixed ports to the pod', async () => {
    const fds = [1, 2, 3].map(() => listenSteered({ netnsFd: netns }));
    assert.equal(new Set(fds.map((fd) => localAddress(fd).port)).size, 3);
    await serve((socket) => socket.end(), '0.0.0.0');
    fds.forEach(closeFd);
  });

  it('connects from inside, with half-close kept and addresses read from the kernel', async () => {
    const port = await serve((socket) => {
      let said = '';
      socket.on('data', (chunk) => (said += String(chunk)));
      socket.on('end', () => socket.end(`${socket.remoteAddress} said ${said}`));
    });
    const fd = tcpSocket(netns);
    bindTo(fd, '127.7.7.7', 0);
    setKeepAlive(fd);
    assert.equal(localAddress(fd).port, 0, 'the port is chosen at connect()');
    assert.throws(() => peerAddress(fd), { errno: 'ENOTCONN', call: 'getpeername' });
    const observer = dup(fd);
    const socket = adoptUnconnected(fd).connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    assert.equal(localAddress(observer).ip, '127.7.7.7');
    assert.deepEqual(peerAddress(observer), { ip: '127.0.0.1', port });
    const timers = execFileSync('ip', ['netns', 'exec', name, 'ss', '-Htno', 'src', '127.7.7.7'], {
      encoding: 'utf8',
    });
    assert.match(timers, /timer:\(keepalive,(2min|3min)/);
    closeFd(observer);
    socket.end('hello');
    assert.equal(await text(socket), '127.7.7.7 said hello');
  });

  it('keeps one source address usable for many destinations with the same port', async () => {
    const port = await serve((socket) => socket.destroy());
    ip('netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=50000 50000');
    const fds = ['127.0.0.1', '127.0.0.2'].map((destination) => {
      const fd = tcpSocket(netns);
      bindTo(fd, '127.9.9.9', 0);
      return { fd, destination };
    });
    const socket = adoptUnconnected(fds[0]?.fd ?? -1).connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    const other = adoptUnconnected(fds[1]?.fd ?? -1).connect({ host: '127.0.0.2', port });
    assert.equal(await failure(other), 'ECONNREFUSED', 'it got the one port there is, and an answer');
    socket.destroy();
  });

  it('names the call, its arguments and the error', () => {
    const fd = tcpSocket(netns);
    assert.throws(() => bindTo(fd, '203.0.113.9', 80), {
      code: 'SYSTEM_CALL',
      errno: 'EADDRNOTAVAIL',
      call: 'bind',
      message: `bind(${fd}, 203.0.113.9, 80) failed with EADDRNOTAVAIL`,
    });
    assert.throws(() => bindTo(fd, 'localhost', 80), {
      errno: 'EINVAL',
      message: /inet_pton\(localhost\)/,
    });
    assert.throws(() => connectInNetns(netns, 'localhost', 80), { errno: 'EINVAL' });
    assert.throws(() => tcpSocket(-1), { call: 'setns', errno: 'EBADF' });
    closeFd(fd);
  });

  it('reads v4-mapped and IPv6 addresses of sockets that others made', () => {
    const AF_INET6 = 10;
    const v6 = (last: readonly number[]): Uint8Array => {
      const address = new Uint8Array(28);
      address[0] = AF_INET6;
      address.set(last, 24 - last.length);
      return address;
    };
    const fds = [v6([1]), v6([0xff, 0xff, 127, 0, 0, 5])].map((address) => {
      const fd = inNetns(netns, () => check(sys.socket(AF_INET6, 1, 0), 'socket'));
      check(sys.bind(fd, address, address.length), 'bind');
      return fd;
    });
    assert.deepEqual(
      fds.map((fd) => localAddress(fd).ip),
      ['::1', '127.0.0.5'],
    );
    fds.forEach(closeFd);
  });
});
