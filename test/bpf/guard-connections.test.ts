import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { KERNEL_METHODS } from './support/guard-methods.ts';
import { Lab, run, sysctl, type Pod } from './support/lab.ts';
import { PacketSocket } from './support/frames.ts';
import { PATIENCE } from '../support/patience.ts';
import { Sock } from './support/socket.ts';
import { soon } from './support/soon.ts';
import { newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const FAST_OPEN_WITHOUT_COOKIE = '1543'; // client, server, and both without having met before (ip-sysctl.rst)

/** A namespace inside a pod, routed through it, as a container engine in the pod makes one. */
class Nested implements Disposable {
  readonly netns: string;
  readonly #pod: Pod;

  constructor(pod: Pod) {
    this.#pod = pod;
    this.netns = `${pod.netns}-in`;
    run(`ip netns add ${this.netns}
      ip -n ${pod.netns} link add nv0 type veth peer name nv1 netns ${this.netns}
      ip -n ${pod.netns} addr add 198.18.7.1/24 dev nv0
      ip -n ${pod.netns} link set nv0 up
      ip -n ${this.netns} addr add 198.18.7.2/24 dev nv1
      ip -n ${this.netns} link set nv1 up
      ip -n ${this.netns} route add default via 198.18.7.1
      ip netns exec ${pod.netns} iptables -t nat -A POSTROUTING -s 198.18.7.2 -j MASQUERADE`);
    sysctl(pod, 'net/ipv4/ip_forward', '1');
  }

  /** What became of a connection: `ok` or why not. */
  dial(ip: string, port: number): string {
    return dialFrom(this.netns, ip, port);
  }

  [Symbol.dispose](): void {
    run(`ip netns del ${this.netns}; ip netns exec ${this.#pod.netns} iptables -t nat -F`);
  }
}

/** Connects in a namespace by its name, with patience for one SYN. */
function dialFrom(netns: string, ip: string, port: number): string {
  const program = `import socket
s = socket.socket(); s.settimeout(${0.7 * PATIENCE})
try:
    s.connect(("${ip}", ${port})); print("ok")
except Exception as e: print(type(e).__name__)`;
  return run(`ip netns exec ${netns} python3 -c '${program}'`).trim();
}

/** Sends a SYN by an ordinary socket of an application that names a source route. */
function dialBySourceRoute(pod: Pod, via: string, ip: string, port: number): string {
  const program = `import socket
s = socket.socket(); s.settimeout(${0.3 * PATIENCE})
s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 131, 7, 4]) + socket.inet_aton("${via}"))
try:
    s.connect(("${ip}", ${port})); print("ok")
except Exception as e: print(type(e).__name__)`;
  return run(`ip netns exec ${pod.netns} python3 -c '${program}'`).trim();
}

for (const method of KERNEL_METHODS) {
  describe(`bpf: connections out of a guarded pod, by ${method}`, () => {
    let lab: Lab;
    let mesh: TinyMesh;
    let a: MeshPod;
    let free: MeshPod;
    let outsider: Pod;
    let server: Sock;

    before(() => {
      lab = new Lab();
      mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method });
      a = mesh.enrol(lab.pod('a'));
      free = mesh.enrol(lab.pod('b'), { guard: 'none' });
      outsider = lab.pod('c');
      server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9100);
    });
    after(() => {
      server?.close();
      mesh?.[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });

    function drops(): Readonly<Record<string, number>> {
      const found = mesh.redirection.enrolled().find(({ cookie }) => cookie === a.handle.cookie);
      assert.ok(found?.guardDrops);
      return Object.fromEntries(Object.entries(found.guardDrops).filter(([, n]) => n > 0));
    }

    it('of the mesh pass, over both families, hairpins too', () => {
      using socket = mesh.ownSocket(a.pod);
      assert.equal(socket.connect(outsider.ip, 9100), 'ok');
      using accepted = server.accept();
      assert.equal(accepted?.peer.ip, a.pod.ip);
      using server6 = Sock.listen(outsider.netnsFd, '::', 9106, { family: 6 });
      using socket6 = mesh.ownSocket(a.pod, undefined, 6);
      assert.equal(socket6.connect(outsider.ip6, 9106), 'ok');
      using accepted6 = server6.accept();
      assert.equal(accepted6?.peer.ip, a.pod.ip6);
      using hairpin = mesh.ownSocket(a.pod);
      assert.equal(hairpin.connect(a.pod.ip, 15008), 'ok');
      assert.deepEqual(drops(), {});
    });

    it('of the mesh pass when their SYN is repeated, and when both ends open at once', async () => {
      const onHost = (state: string): string => lab.onHost(`ip link set ${outsider.port} ${state}`);
      using ours = mesh.ownSocket(a.pod).bind(a.pod.ip, 5000);
      using theirs = Sock.open(outsider.netnsFd).bind(outsider.ip, 5001);
      onHost('down');
      assert.equal(ours.connectLater(outsider.ip, 5001), 'EINPROGRESS');
      assert.equal(theirs.connectLater(a.pod.ip, 5000), 'EINPROGRESS');
      await new Promise((resolve) => setTimeout(resolve, 1200));
      onHost('up');
      assert.equal(ours.connected(), 'ok');
      assert.equal(theirs.connected(), 'ok');
      ours.send('to both');
      assert.equal(theirs.receive(), 'to both');
      assert.deepEqual(drops(), {});
    });

    it('of the mesh pass with data in the SYN', () => {
      sysctl(a.pod, 'net/ipv4/tcp_fastopen', FAST_OPEN_WITHOUT_COOKIE);
      sysctl(outsider, 'net/ipv4/tcp_fastopen', FAST_OPEN_WITHOUT_COOKIE);
      using fast = Sock.open(outsider.netnsFd).fastOpen();
      fast.bind(outsider.ip, 9107).startListening();
      using seen = new PacketSocket(outsider);
      using socket = mesh.ownSocket(a.pod).fastOpenConnect();
      assert.equal(socket.connect(outsider.ip, 9107), 'ok');
      socket.send('in the first packet');
      using accepted = fast.accept();
      assert.equal(accepted?.socket.receive(), 'in the first packet');
      assert.ok(seen.saw(Buffer.from('in the first packet')));
      assert.deepEqual(drops(), {});
    });

    it('that the application makes never come to the veth', () => {
      using socket = Sock.open(a.pod.netnsFd);
      assert.equal(socket.connect(outsider.ip, 9100), 'ok');
      using accepted = a.listeners.outbound.accept();
      assert.deepEqual(accepted && mesh.originalDst(accepted.socket), { ip: outsider.ip, port: 9100 });
      assert.deepEqual(drops(), {});
    });

    it('of a nested namespace behind NAT are dropped (F7)', () => {
      using control = new Nested(free.pod);
      assert.equal(control.dial(outsider.ip, 9100), 'ok');
      server.accept()?.socket.close();
      using nested = new Nested(a.pod);
      const before = drops()['syn'] ?? 0;
      assert.equal(nested.dial(outsider.ip, 9100), 'TimeoutError');
      assert.ok((drops()['syn'] ?? 0) > before);
      assert.equal(server.accept(0), undefined);
    });

    it('of the mesh that the pod turns elsewhere by NAT are dropped', async () => {
      const turn = (pod: Pod): string =>
        run(`ip netns exec ${pod.netns} iptables -t nat -A OUTPUT -p tcp --dport 9999 \
          -j DNAT --to-destination ${outsider.ip}:9100`);
      turn(free.pod);
      using control = mesh.ownSocket(free.pod);
      assert.equal(control.connect('198.18.80.99', 9999), 'ok');
      server.accept()?.socket.close();
      turn(a.pod);
      const before = drops()['syn'] ?? 0;
      using socket = mesh.ownSocket(a.pod);
      assert.equal(socket.connectLater('198.18.80.99', 9999), 'EINPROGRESS');
      assert.ok(await soon(() => (drops()['syn'] ?? 0) > before));
      assert.equal(server.accept(0), undefined);
      run(`ip netns exec ${a.pod.netns} iptables -t nat -F`);
    });

    it('that name a source route are dropped', async () => {
      using seen = new PacketSocket(outsider);
      const before = drops()['options'] ?? 0;
      dialBySourceRoute(free.pod, outsider.ip, '198.19.0.10', 80);
      assert.ok(await soon(() => seen.saw(Buffer.from([131, 7]))));
      dialBySourceRoute(a.pod, outsider.ip, '198.19.0.10', 80);
      assert.ok(await soon(() => (drops()['options'] ?? 0) > before));
      assert.ok(!seen.saw(Buffer.from([131, 7])));
    });
  });
}
