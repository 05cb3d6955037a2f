import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { ROUTE_BYTES, ROUTE_KEY_BYTES } from '../../lib/linux/bpf/layout.ts';
import { pinnedMap } from './support/kernel-objects.ts';
import { Lab, run, sysctl, type Pod } from './support/lab.ts';
import { MPTCP, Sock } from './support/socket.ts';
import { TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const FAR = ['2001:db8::7', 'fd00:99::10', 'fd00:99:1::1'];

describe('bpf: what connect() says where the pod has no IPv6 route (F18)', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let pod: Pod;
  let a: MeshPod;
  /** Not enrolled, and given the same routes: what it is told counts. */
  let outsider: Pod;

  before(() => {
    lab = new Lab();
    pod = lab.pod('a');
    outsider = lab.pod('c');
  });
  beforeEach(() => {
    mesh = new TinyMesh();
    a = mesh.enrol(pod);
  });
  afterEach(() => {
    mesh?.[Symbol.dispose]();
    for (const each of [pod, outsider]) {
      run(`ip -n ${each.netns} -6 route flush proto static
        ip -n ${each.netns} -6 route flush table 100 proto static || true
        ip -n ${each.netns} -6 rule del prio 9 || true`);
    }
  });
  after(() => lab?.[Symbol.dispose]());

  function inBoth(commands: string): void {
    for (const each of [pod, outsider])
      for (const command of commands.split('\n')) run(`ip -n ${each.netns} -6 ${command.trim()}`);
  }

  /** What connect() says; with a route, it begins. */
  function said(netnsFd: number, ip: string, protocol = 0): string {
    using socket = Sock.open(netnsFd, { family: 6, protocol }).resetOnClose();
    const result = socket.connectLater(ip, 9100);
    return result === 'ok' ? 'EINPROGRESS' : result;
  }

  /** The pod is told what it would be told without a mesh, for each destination. */
  function same(destinations: readonly string[]): string[] {
    mesh.redirection.followRoutes(pod);
    const without = destinations.map((ip) => said(outsider.netnsFd, ip));
    assert.deepEqual(
      destinations.map((ip) => said(pod.netnsFd, ip)),
      without,
    );
    assert.deepEqual(
      destinations.map((ip) => said(pod.netnsFd, ip, MPTCP)),
      without,
    );
    while (a.listeners.outbound.accept(0) !== undefined);
    return without;
  }

  const cases: readonly [string, string, readonly string[]][] = [
    ['none but to its own link', '', ['ENETUNREACH', 'ENETUNREACH', 'ENETUNREACH']],
    [
      'to everywhere',
      'route add default dev eth0 proto static',
      ['EINPROGRESS', 'EINPROGRESS', 'EINPROGRESS'],
    ],
    [
      'to some place only',
      'route add fd00:99::/64 dev eth0 proto static',
      ['ENETUNREACH', 'EINPROGRESS', 'ENETUNREACH'],
    ],
    [
      'to everywhere but one place',
      'route add default dev eth0 proto static\nroute add unreachable fd00:99::/64 proto static',
      ['EINPROGRESS', 'EHOSTUNREACH', 'EINPROGRESS'],
    ],
    ['that prohibits', 'route add prohibit default proto static', ['EACCES', 'EACCES', 'EACCES']],
    [
      'that is a black hole',
      'route add blackhole fd00:99:1::/48 proto static',
      ['ENETUNREACH', 'ENETUNREACH', 'EINVAL'],
    ],
    [
      'that ends the table',
      'route add throw default proto static',
      ['ENETUNREACH', 'ENETUNREACH', 'ENETUNREACH'],
    ],
    [
      'of two metrics, the first one unreachable',
      'route add default dev eth0 metric 900 proto static\nroute add unreachable default metric 800 proto static',
      ['EHOSTUNREACH', 'EHOSTUNREACH', 'EHOSTUNREACH'],
    ],
    [
      'by a rule of its own',
      'route add default dev eth0 table 100 proto static\nrule add to fd00:99::/48 lookup 100 prio 9',
      [],
    ],
  ];
  for (const [what, commands, expected] of cases) {
    it(`is the same as without a mesh: a route ${what}`, () => {
      if (commands !== '') inBoth(commands);
      // Policy routing is not followed: then all is captured, and ztunnel finds out.
      if (expected.length === 0) {
        mesh.redirection.followRoutes(pod);
        for (const ip of FAR) assert.equal(said(pod.netnsFd, ip), 'EINPROGRESS');
        return;
      }
      assert.deepEqual(same(FAR), expected);
    });
  }

  it('concerns neither the link, nor its own addresses, nor IPv4, nor what the mesh dials', () => {
    mesh.redirection.followRoutes(pod);
    for (const ip of [outsider.ip6, pod.ip6]) {
      using client = Sock.open(pod.netnsFd, { family: 6 });
      assert.equal(client.connect(ip, 9100), 'ok', ip);
      using accepted = a.listeners.outbound.accept();
      assert.deepEqual(accepted && mesh.originalDst(accepted.socket), { ip, port: 9100 });
    }
    using mapped = Sock.open(pod.netnsFd, { family: 6 });
    assert.equal(mapped.connect('::ffff:198.19.0.10', 80), 'ok');
    const before = mesh.counter('refusedRoute');
    using own = mesh.ownSocket(pod, undefined, 6);
    assert.equal(own.connectLater('fd00:99::10', 80), 'ENETUNREACH', 'as the kernel says itself');
    assert.equal(mesh.counter('refusedRoute'), before);
    assert.equal(said(pod.netnsFd, 'fd00:99::10'), 'ENETUNREACH');
    assert.equal(mesh.counter('refusedRoute'), before + 1);
  });

  it('follows the routes, of this pod alone, and is forgotten with it', () => {
    const other = lab.pod('b');
    mesh.enrol(other);
    for (const each of [pod, other]) mesh.redirection.followRoutes(each);
    inBoth('route add default dev eth0 proto static');
    mesh.redirection.followRoutes(pod);
    mesh.redirection.followRoutes(other);
    assert.deepEqual(
      [said(pod.netnsFd, 'fd00:99::10'), said(other.netnsFd, 'fd00:99::10')],
      ['EINPROGRESS', 'ENETUNREACH'],
    );
    inBoth('route del default dev eth0 proto static');
    mesh.redirection.followRoutes(pod);
    assert.equal(said(pod.netnsFd, 'fd00:99::10'), 'ENETUNREACH');
    using map = pinnedMap(mesh, 'routes', ROUTE_KEY_BYTES, ROUTE_BYTES);
    const present = (): boolean => map.keys().some((key) => key.readBigUInt64LE(4) === pod.cookie);
    assert.equal(present(), true);
    mesh.redirection.unenrol(a.handle);
    assert.equal(present(), false);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('is left to ztunnel where there are too many routes, or IPv6 is off', () => {
    const many = Array.from({ length: 70 }, (_, i) => `route add fd01:${i}::/64 dev eth0 proto static`);
    run(`printf '${many.join('\\n')}\\n' | ip -n ${pod.netns} -6 -batch -`);
    mesh.redirection.followRoutes(pod);
    assert.equal(said(pod.netnsFd, 'fd00:99::10'), 'EINPROGRESS');
    const bare = lab.pod('d');
    sysctl(bare, 'net/ipv6/conf/all/disable_ipv6', '1');
    mesh.redirection.enrol({
      ...bare,
      ips: [bare.ip],
      listeners: {
        outbound: a.listeners.outbound.fd,
        plaintext: a.listeners.plaintext.fd,
        hbone: a.listeners.hbone.fd,
      },
    });
    mesh.redirection.followRoutes({ ...bare, ips: [bare.ip] });
    assert.equal(said(bare.netnsFd, 'fd00:99::10'), 'ENETUNREACH');
  });
});
