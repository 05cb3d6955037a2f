import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { ObservedConnection, Observer } from '../../lib/linux/bpf/index.ts';
import { check, int32, sys } from '../../lib/linux/libc.ts';
import { FAMILIES } from './support/families.ts';
import { Lab, run, type Pod } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import { soon } from './support/soon.ts';
import { TinyMesh } from './support/tiny-mesh.ts';

const PORT = 8080;
const IPPROTO_TCP = 6;
const TCP_USER_TIMEOUT = 18;
const ECONNREFUSED = 111;
const ECONNRESET = 104;
const ETIMEDOUT = 110;

describe('bpf: observe mode', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let observer: Observer;
  let seen: Map<bigint, ObservedConnection>;

  beforeEach(() => {
    lab = new Lab();
    mesh = new TinyMesh();
    observer = mesh.redirection.observer();
    seen = new Map();
  });
  afterEach(() => {
    observer?.[Symbol.dispose]();
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** What a pod's connections are once it holds; the last that was told of each. */
  async function connections(
    pod: Pod,
    holds: (found: ObservedConnection[]) => boolean,
  ): Promise<ObservedConnection[]> {
    const found = (): ObservedConnection[] => {
      for (const each of observer.read()) seen.set(each.cookie, each);
      return [...seen.values()].filter(({ netns }) => netns === pod.cookie);
    };
    const held = await soon(() => holds(found()));
    assert.ok(
      held,
      JSON.stringify(found(), (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
    );
    return found();
  }
  const areOver = (found: ObservedConnection[]): boolean =>
    found.length > 0 && found.every(({ state }) => state === 'over');

  for (const { family, name } of FAMILIES) {
    const address = ({ ip, ip6 }: Pod): string => (family === 4 ? ip : ip6);

    it(`sees both ends of a connection with bytes, round trips and its end (${name})`, async () => {
      const [a, b] = [lab.pod('a'), lab.pod('b')];
      observer.observe(a.cookie);
      observer.observe(b.cookie);
      using listener = Sock.listen(b.netnsFd, address(b), PORT, { family });
      using client = Sock.open(a.netnsFd, { family });
      assert.equal(client.connect(address(b), PORT), 'ok');
      using accepted = listener.accept();
      assert.ok(accepted);
      client.send('x'.repeat(1000));
      assert.equal(accepted.socket.receive().length, 1000);
      accepted.socket.send('y'.repeat(3000));
      assert.equal(client.receive().length, 3000);
      const [open] = await connections(a, ([first]) => first?.state === 'open' && first.sent === 1000);
      assert.ok(open);
      assert.deepEqual(open.local, client.local());
      assert.deepEqual(open.remote, { ip: address(b), port: PORT });
      assert.ok(open.dialled && open.established !== undefined && open.ended === undefined);
      client.close();
      accepted.socket.close();
      const [at] = await connections(a, areOver);
      const [there] = await connections(b, areOver);
      assert.ok(at && there);
      assert.deepEqual([at.sent, at.received, at.error], [1000, 3000, 0]);
      assert.deepEqual([there.sent, there.received, there.error], [3000, 1000, 0]);
      assert.deepEqual([at.dialled, there.dialled], [true, false]);
      assert.deepEqual(there.remote, at.local);
      assert.ok(at.rttUs !== undefined && at.rttMinUs !== undefined && at.rttUs < 1_000_000);
      assert.deepEqual([at.retransmits, there.retransmits], [0, 0]);
      assert.ok(at.established !== undefined && at.ended !== undefined && at.ended >= at.established);
    });

    it(`tells a refused connection by its reason (${name})`, async () => {
      const [a, b] = [lab.pod('a'), lab.pod('b')];
      observer.observe(a.cookie);
      assert.equal(dial(a.netnsFd, address(b), PORT, { family }), 'ECONNREFUSED');
      const [refused, ...rest] = await connections(a, areOver);
      assert.deepEqual(
        [refused?.error, refused?.lastState, refused?.established],
        [ECONNREFUSED, 'syn-sent', undefined],
      );
      assert.equal(rest.length, 0);
    });
  }

  it('tells what was given up, what timed out with its SYNs, and what was reset', async () => {
    const [a, b] = [lab.pod('a'), lab.pod('b')];
    observer.observe(a.cookie);
    run(
      `ip -n ${b.netns} link set eth0 down; ip -n ${a.netns} neigh add ${b.ip} lladdr 02:00:00:00:00:01 dev eth0`,
    );
    const late = Sock.open(a.netnsFd);
    assert.equal(late.connectLater(b.ip, PORT), 'EINPROGRESS');
    const [connecting] = await connections(a, (found) => found.length === 1);
    assert.deepEqual([connecting?.state, connecting?.established], ['connecting', undefined]);
    late.close();
    const [givenUp] = await connections(a, areOver);
    assert.deepEqual([givenUp?.error, givenUp?.lastState], [0, 'syn-sent']);

    seen.clear();
    using slow = Sock.open(a.netnsFd);
    check(sys.setsockopt(slow.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, int32(500), 4), 'setsockopt');
    assert.equal(slow.connectLater(b.ip, PORT), 'EINPROGRESS');
    const overdue = await soon(() => {
      for (const each of observer.read()) seen.set(each.cookie, each);
      return areOver([...seen.values()]);
    }, 10_000);
    assert.ok(overdue);
    const [timedOut] = [...seen.values()];
    assert.deepEqual([timedOut?.error, timedOut?.established], [ETIMEDOUT, undefined]);
    assert.ok(timedOut && timedOut.retransmits > 0);

    seen.clear();
    run(`ip -n ${b.netns} link set eth0 up; ip -n ${a.netns} neigh del ${b.ip} dev eth0`);
    using listener = Sock.listen(b.netnsFd, b.ip, PORT);
    using client = Sock.open(a.netnsFd);
    assert.equal(client.connect(b.ip, PORT), 'ok');
    const accepted = listener.accept();
    accepted?.socket.resetOnClose().close();
    const [reset] = await connections(a, areOver);
    assert.deepEqual([reset?.error, reset?.lastState], [ECONNRESET, 'established']);
  });

  it('sees nothing of other pods, of loopback, nor after it was forgotten or switched off', async () => {
    const [a, b] = [lab.pod('a'), lab.pod('b')];
    observer.observe(a.cookie);
    using own = Sock.listen(a.netnsFd, '0.0.0.0', PORT);
    using other = Sock.listen(b.netnsFd, b.ip, PORT);
    assert.equal(dial(a.netnsFd, '127.0.0.1', PORT), 'ok');
    assert.equal(dial(b.netnsFd, b.ip, PORT), 'ok');
    assert.deepEqual(observer.read(), []);
    assert.equal(dial(a.netnsFd, b.ip, PORT), 'ok');
    await connections(a, areOver);
    assert.equal(observer.forget(a.cookie), true);
    assert.equal(dial(a.netnsFd, b.ip, PORT), 'ok');
    assert.deepEqual(observer.read(), []);
    assert.equal(observer.fill()['observed_connections']?.entries, 0);
    void [own, other];
  });

  it('counts what it had no room for, and has room again when entries were read', async () => {
    const [a, b] = [lab.pod('a'), lab.pod('b')];
    observer.observe(a.cookie, 3);
    using listener = Sock.listen(b.netnsFd, b.ip, PORT);
    for (let i = 0; i < 5; i += 1) assert.equal(dial(a.netnsFd, b.ip, PORT), 'ok');
    assert.equal(observer.refused().get(a.cookie), 2);
    await connections(a, (found) => found.length === 3 && areOver(found));
    observer.read();
    assert.equal(dial(a.netnsFd, b.ip, PORT), 'ok');
    await connections(a, (found) => found.length === 4 && areOver(found));
    assert.equal(observer.refused().get(a.cookie), 2);
    void listener;
  });

  it('is adopted by the next process, with what happened meanwhile, and leaves nothing when it ends', async () => {
    const [a, b] = [lab.pod('a'), lab.pod('b')];
    observer.observe(a.cookie);
    using listener = Sock.listen(b.netnsFd, b.ip, PORT);
    observer[Symbol.dispose]();
    assert.equal(dial(a.netnsFd, b.ip, PORT), 'ok');
    observer = mesh.redirection.observer();
    assert.ok(observer.inForce);
    assert.deepEqual(observer.observed(), [a.cookie]);
    await connections(a, areOver);
    assert.equal(dial(a.netnsFd, b.ip, PORT), 'ok');
    await connections(a, (found) => found.length === 2 && areOver(found));
    observer.end();
    assert.equal(observer.inForce, false);
    assert.deepEqual(observer.observed(), []);
    void listener;
  });

  it('is put back when somebody unpins or detaches it', async () => {
    const [a, b] = [lab.pod('a'), lab.pod('b')];
    observer.observe(a.cookie);
    assert.deepEqual(observer.repair(), []);
    run(
      `rm /sys/fs/bpf/loam/${mesh.instance}/v4/observe/link /sys/fs/bpf/loam/${mesh.instance}/v4/observe/observed_uses-*`,
    );
    assert.deepEqual(observer.repair(), ['observe']);
    using listener = Sock.listen(b.netnsFd, b.ip, PORT);
    assert.equal(dial(a.netnsFd, b.ip, PORT), 'ok');
    await connections(a, areOver);
    void listener;
  });
});
