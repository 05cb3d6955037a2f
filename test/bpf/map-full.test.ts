import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { OffSwitches } from '../../lib/linux/bpf/index.ts';
import { GUARD_BYTES, GUARD_DROPS_BYTES } from '../../lib/linux/bpf/guard-layout.ts';
import {
  buffer,
  LISTENER_KEY_BYTES,
  POD_BYTES,
  POD_USE_BYTES,
  ROUTE_BYTES,
  ROUTE_KEY_BYTES,
} from '../../lib/linux/bpf/layout.ts';
import { IPV4 } from './support/families.ts';
import { pinned, pinnedMap, type OpenMap } from './support/kernel-objects.ts';
import { Lab, type Pod } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import { newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

/** No namespace of a running machine has such a cookie. */
const NOBODY = 2 ** 40;

/** The map of records is in records.test.ts. */
describe('bpf: a map that is full', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let pod: Pod;
  let second: Pod;
  let outsider: Pod;
  let a: MeshPod;

  before(() => {
    lab = new Lab();
    [pod, second, outsider] = [lab.pod('a'), lab.pod('b'), lab.pod('c')];
  });
  beforeEach(() => {
    mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method: 'clsact' });
    a = mesh.enrol(pod);
  });
  afterEach(() => mesh?.[Symbol.dispose]());
  after(() => lab?.[Symbol.dispose]());

  /** Fills a map with entries of nobody. @returns what empties it again, and how many it has in all */
  function fill(
    map: OpenMap,
    keyBytes: number,
    value: Buffer,
    cookieAt = 0,
  ): { full: number; empty: () => void } {
    const keys: Buffer[] = [];
    for (let i = 0; ; i += 1) {
      const key = buffer(keyBytes);
      if (keyBytes === ROUTE_KEY_BYTES) key.writeUInt32LE(64, 0);
      key.writeBigUInt64LE(BigInt(NOBODY + i), cookieAt);
      try {
        map.set(key, value);
      } catch (error) {
        assert.match(String(error), /the map is full/);
        break;
      }
      keys.push(key);
    }
    return { full: map.capacity(), empty: () => keys.forEach((key) => map.delete(key)) };
  }

  /** A pod that was enrolled before goes on, with what it had and with what is new. */
  function goesOn(): void {
    using client = Sock.open(pod.netnsFd);
    assert.equal(client.connect(IPV4.service.ip, IPV4.service.port), 'ok');
    using accepted = a.listeners.outbound.accept();
    assert.deepEqual(accepted && mesh.originalDst(accepted.socket), IPV4.service);
    assert.equal(dial(outsider.netnsFd, pod.ip, 9000), 'ok');
    using arrived = a.listeners.plaintext.accept();
    assert.ok(arrived);
  }

  const maps: readonly [string, number, number][] = [
    ['pods', 8, POD_BYTES],
    ['enrolled', 8, 8],
    ['pod_uses', 8, POD_USE_BYTES],
    ['listeners', LISTENER_KEY_BYTES, 8],
    ['guards', 8, GUARD_BYTES],
    ['guard_drops', 8, GUARD_DROPS_BYTES],
  ];
  for (const [name, keyBytes, valueBytes] of maps) {
    it(`(${name}) takes no further pod, names itself, leaves nothing of it, and those in it go on`, () => {
      using client = Sock.open(pod.netnsFd);
      assert.equal(client.connect(IPV4.service.ip, IPV4.service.port), 'ok');
      using server = a.listeners.outbound.accept();
      assert.ok(server);
      using map = pinnedMap(mesh, name, keyBytes, valueBytes);
      const value = buffer(valueBytes);
      // Of sockets, user space writes a descriptor.
      if (name === 'listeners') value.writeBigUInt64LE(BigInt(a.listeners.outbound.fd), 0);
      const { full, empty } = fill(map, keyBytes, value);
      assert.deepEqual(mesh.redirection.fill()[name], { entries: full, capacity: full });
      assert.throws(
        () => mesh.enrol(second),
        new RegExp(`in map ${name}: the map is full \\(${full} entries\\)`),
      );
      const pins = (kind: string): string[] => readdirSync(dirname(pinned(mesh, kind, 'x')));
      for (const kind of ['pods', 'filters'])
        assert.equal(
          pins(kind).some((pin) => pin.startsWith(`${second.cookie}`)),
          false,
          kind,
        );
      goesOn();
      client.send('still');
      assert.equal(server.socket.receive(), 'still');
      // It is put right again where it is full too.
      mesh.redirection.guard(pod, 'on');
      empty();
      const b = mesh.enrol(second);
      assert.equal(dial(second.netnsFd, IPV4.service.ip, IPV4.service.port), 'ok');
      using accepted = b.listeners.outbound.accept();
      assert.ok(accepted);
      assert.deepEqual(mesh.redirection.verify(), []);
    });
  }

  it('(routes) lets everything of a pod be captured whose routes found no room', () => {
    using map = pinnedMap(mesh, 'routes', ROUTE_KEY_BYTES, ROUTE_BYTES);
    const { empty } = fill(map, ROUTE_KEY_BYTES, buffer(ROUTE_BYTES), 4);
    assert.throws(() => mesh.redirection.followRoutes(pod), /in map routes: the map is full/);
    assert.equal(dial(pod.netnsFd, 'fd00:99::10', 80, { family: 6 }), 'ok');
    using accepted = a.listeners.outbound.accept();
    assert.deepEqual(accepted && mesh.originalDst(accepted.socket), { ip: 'fd00:99::10', port: 80 });
    empty();
    mesh.redirection.followRoutes(pod);
    assert.equal(dial(pod.netnsFd, 'fd00:99::10', 80, { family: 6 }), 'ENETUNREACH');
  });

  it('(switched_off) leaves a pod in the mesh that was to be switched off, and says why', () => {
    using map = pinnedMap(mesh, 'switched_off', 8, 8);
    const { empty } = fill(map, 8, buffer(8));
    using switches = OffSwitches.open(mesh.instance);
    assert.throws(() => switches?.turnOff(pod.cookie), /in map switched_off: the map is full/);
    goesOn();
    empty();
  });
});
