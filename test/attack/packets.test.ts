import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { ACK, ethernet, IP4, ipv4, PacketSocket, PROTOCOL, SYN, tcp, udp } from '../bpf/support/frames.ts';
import { run } from '../bpf/support/lab.ts';
import { eventually } from '../mesh/harness.ts';
import { PORT, World, type PodName } from './world.ts';

describe('attack: packets past the hooks of the sockets (t7, F6, F7)', function () {
  this.timeout(180_000);
  let world: World;
  before(async () => {
    world = await World.up();
  });
  after(() => world?.mesh.down());

  const dropped = async (): Promise<Readonly<Record<string, number>>> =>
    (await world.agentPod('attacker', 'node-a')).guard.dropped;

  /** The node as the next hop of its pods, for frames. */
  function gatewayMac(): Buffer {
    const text = run(
      `nsenter --net=${world.mesh.netns({ kind: 'node', node: 'node-a' })} ip -o link show pods`,
    );
    const [, mac] = /link\/ether ([0-9a-f:]{17})/.exec(text) ?? [];
    return Buffer.from((mac ?? assert.fail(text)).replaceAll(':', ''), 'hex');
  }

  /** Sends a packet out of the attacker, then the like out of the free pod: that one arrives, and the first has not. */
  async function keepsBack(make: (own: string, mark: Buffer) => Buffer, reason: string): Promise<void> {
    using target = world.netns('open');
    using seen = new PacketSocket(target);
    const before = (await dropped())[reason] ?? 0;
    const send = (pod: PodName, mark: Buffer): void => {
      using netns = world.netns(pod);
      using socket = new PacketSocket(netns);
      const frame = ethernet(netns, netns, IP4, make(world.ip(pod), mark));
      gatewayMac().copy(frame, 0);
      socket.send(frame);
    };
    send('attacker', Buffer.from('of the attacker'));
    send('free', Buffer.from('of the control!'));
    let attack = false;
    await eventually('the control to arrive', () => {
      const frames = seen.all();
      attack ||= frames.some((frame) => frame.includes('of the attacker'));
      return frames.some((frame) => frame.includes('of the control!'));
    });
    assert.equal(attack, false);
    assert.ok(((await dropped())[reason] ?? 0) > before, `counted as ${reason}`);
  }

  const to = (): { ip: string; port: number } => ({ ip: world.ip('open'), port: PORT });
  const packet = (source: string, protocol: number, payload: Buffer): Buffer =>
    ipv4({ source, destination: world.ip('open'), protocol }, payload);

  it('the SYN of a raw socket stays on its node', () =>
    keepsBack(
      (own, mark) => packet(own, PROTOCOL.tcp, tcp({ ip: own, port: 40000 }, to(), SYN, mark)),
      'syn',
    ));

  it("a SYN in another pod's name stays on its node", () =>
    keepsBack((_own, mark) => {
      const source = world.ip('friend');
      return packet(source, PROTOCOL.tcp, tcp({ ip: source, port: 40000 }, to(), SYN, mark));
    }, 'source'));

  it("a segment and a datagram in another pod's name stay on their node", async () => {
    const end = { ip: world.ip('friend'), port: 40000 };
    await keepsBack((_own, mark) => packet(end.ip, PROTOCOL.tcp, tcp(end, to(), ACK, mark)), 'source');
    await keepsBack((_own, mark) => packet(end.ip, PROTOCOL.udp, udp(end, to(), mark)), 'source');
  });

  it('a SYN in a tunnel stays on its node', () =>
    keepsBack((own, mark) => {
      const inner = packet(own, PROTOCOL.tcp, tcp({ ip: own, port: 40000 }, to(), SYN, mark));
      return packet(own, 4, inner);
    }, 'protocol'));

  it('a nested namespace behind NAT reaches nobody, in the mesh or outside', async () => {
    const nested = (pod: PodName): string => {
      const netns = world.netnsName(pod);
      const inner = `${netns}-in`;
      run(`ip netns add ${inner}
        ip -n ${netns} link add nv0 type veth peer name nv1 netns ${inner}
        ip -n ${netns} addr add 203.0.113.1/24 dev nv0
        ip -n ${netns} link set nv0 up
        ip -n ${inner} addr add 203.0.113.2/24 dev nv1
        ip -n ${inner} link set nv1 up
        ip -n ${inner} route add default via 203.0.113.1`);
      try {
        world.inPod(pod, 'echo 1 >/proc/sys/net/ipv4/ip_forward');
        world.inPod(pod, 'iptables -t nat -A POSTROUTING -s 203.0.113.2 -j MASQUERADE');
        const program = `import socket
for ip in ("${world.ip('open')}", "${world.ip('victim')}"):
    s = socket.socket(); s.settimeout(1)
    try:
        s.connect((ip, ${PORT})); print(s.recv(99))
    except OSError as e: print(type(e).__name__)`;
        return run(`ip netns exec ${inner} python3 -c '${program}'`);
      } finally {
        run(`ip netns del ${inner}`);
      }
    };
    const before = world.reached('victim');
    const beforeOpen = world.reached('open');
    assert.equal(nested('attacker'), 'TimeoutError\nTimeoutError\n');
    assert.equal(world.reached('open'), beforeOpen);
    assert.match(nested('free'), /APP/);
    assert.equal(world.reached('victim'), before);
    assert.ok(((await dropped())['syn'] ?? 0) > 0);
  });

  it('an ordinary socket with a source route reaches nobody', async () => {
    const before = world.reached('open');
    const got = await world.dial('attacker', { ip: world.ip('open'), route: world.ip('open') });
    assert.doesNotMatch(got, /APP/);
    assert.equal(world.reached('open'), before);
  });

  it('the status says who is guarded, and how', async () => {
    const { guard } = await world.agentPod('attacker', 'node-a');
    assert.equal(guard.mode, 'on');
    assert.deepEqual([guard.guarded.map(({ name }) => name), guard.unguarded], [['eth0'], []]);
  });
});
