import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Redirection } from '../../lib/linux/bpf/index.ts';
import { PRIVATE_SOURCES_PREFIX, privateSourcesRoute } from '../../lib/linux/private-sources.ts';
import { bindSource } from '../../lib/linux/socket.ts';
import { InternalSources } from '../../ztunnel/proxy/pod-sockets.ts';
import { IPV4, IPV6 } from './support/families.ts';
import { fails } from './support/kernel-objects.ts';
import { Lab, run, sysctl, type Pod } from './support/lab.ts';
import { Sock } from './support/socket.ts';
import { TinyMesh } from './support/tiny-mesh.ts';

const CLIENT = { 4: { ip: '192.0.2.7', port: 4242 }, 6: { ip: '2001:db8::7', port: 4242 } };
/** So many connections from one source address exhaust a pod that has so many source ports. */
const PORTS = 64;

describe('bpf: where connections to the application come from', () => {
  let lab: Lab;
  let mesh: TinyMesh;

  beforeEach(() => {
    lab = new Lab();
    mesh = new TinyMesh();
  });
  afterEach(() => {
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  for (const { name, family, own } of [IPV4, IPV6]) {
    it(`never runs out, where one address would: TIME_WAIT holds its ports (F20, ${name})`, () => {
      const { pod } = mesh.enrol(lab.pod('a'));
      sysctl(pod, 'net/ipv4/ip_local_port_range', `40000 ${40000 + PORTS - 1}`);
      // Loopback connections may otherwise take over a TIME_WAIT that is a second old.
      sysctl(pod, 'net/ipv4/tcp_tw_reuse', '0');
      using app = Sock.listen(pod.netnsFd, own(pod), 9400, { family });
      const connect = (source: string): string => {
        using toApp = mesh.ownSocket(pod, CLIENT[family], family);
        bindSource(toApp.fd, source);
        const result = toApp.connect(own(pod), 9400);
        if (result !== 'ok') return result;
        using accepted = app.accept();
        assert.equal(accepted?.peer.ip, CLIENT[family].ip);
        // The mesh closes first, so that its side keeps TIME_WAIT.
        toApp.close();
        return result;
      };
      const sources = new InternalSources();
      for (let i = 0; i < 40 * PORTS; i += 1) assert.equal(connect(sources.next(family)), 'ok', String(i));
      const one = sources.next(family);
      const results = Array.from({ length: PORTS + 1 }, () => connect(one));
      assert.equal(results.at(-1), 'EADDRNOTAVAIL');
      assert.equal(mesh.redirection.stats().records, 0);
    });
  }

  const routes = (pod: Pod): string => run(`ip -n ${pod.netns} -6 route show table all proto 76`);

  it('is a range that the pod routes to lo while it is enrolled, and no longer', () => {
    const pod = lab.pod('a');
    // The link-local address is tentative for a second or two.
    const addressesNow = (): string => run(`ip -n ${pod.netns} -6 addr`).replaceAll(' tentative', '');
    const addresses = addressesNow();
    const { handle } = mesh.enrol(pod);
    assert.match(routes(pod), /^local fd5b:8c1d:9a6e::\/64 dev lo table local/);
    assert.equal(addressesNow(), addresses);
    mesh.redirection.unenrol(handle);
    assert.equal(routes(pod), '');
    mesh.enrol(pod);
    assert.notEqual(routes(pod), '');
    // A process that never saw the pod, and has no descriptor of it.
    mesh.redirection.close();
    Redirection.remove(mesh.instance);
    assert.equal(routes(pod), '');
    mesh.redirection = Redirection.open({ instance: mesh.instance });
  });

  it('is put back by the next enrolment, whatever somebody put in its place', () => {
    const pod = lab.pod('a');
    mesh.enrol(pod);
    assert.equal(privateSourcesRoute(pod.netnsFd), 'ours');
    const prefix = `${PRIVATE_SOURCES_PREFIX}:/64`;
    run(`ip -n ${pod.netns} -6 route del local ${prefix} dev lo table local`);
    assert.equal(privateSourcesRoute(pod.netnsFd), 'none');
    mesh.enrol(pod);
    assert.equal(privateSourcesRoute(pod.netnsFd), 'ours');
    run(`ip -n ${pod.netns} -6 route add unreachable ${prefix} table local metric 1`);
    assert.notEqual(privateSourcesRoute(pod.netnsFd), 'ours');
    // A pod that cannot be reached is not said to be.
    fails('BPF_ROUTE', () => mesh.enrol(pod));
    assert.equal(mesh.redirection.enrolled().length, 1);
    run(`ip -n ${pod.netns} -6 route del unreachable ${prefix} table local metric 1`);
    mesh.enrol(pod);
  });

  it('is no matter for a pod without IPv6, which is enrolled and left as it is', () => {
    const pod = lab.pod('a');
    sysctl(pod, 'net/ipv6/conf/all/disable_ipv6', '1');
    const a = mesh.enrol({ ...pod, ips: [pod.ip] });
    assert.equal(routes(pod), '');
    using client = Sock.open(pod.netnsFd);
    assert.equal(client.connect(IPV4.service.ip, IPV4.service.port), 'ok');
    using accepted = a.listeners.outbound.accept();
    assert.ok(accepted && mesh.originalDst(accepted.socket));
    mesh.redirection.unenrol(a.handle);
  });
});
