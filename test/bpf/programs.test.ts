import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { InstanceMaps } from '../../lib/linux/bpf/instance-maps.ts';
import {
  buffer,
  encodeSelf,
  LISTENER_ROLES,
  listenerKey,
  RECORD_BYTES,
  TUPLE_BYTES,
  writeAddress,
  type Counter,
  type ListenerRole,
} from '../../lib/linux/bpf/layout.ts';
import { BpfMap } from '../../lib/linux/bpf/map.ts';
import { loadObject, readObject, type LoadedObject } from '../../lib/linux/bpf/object.ts';
import { testRun } from '../../lib/linux/bpf/test-run.ts';
import { BpfError } from '../../lib/linux/bpf/index.ts';
import { ipToBytes } from '../../lib/linux/ip.ts';
import { openCurrentNetns } from '../../lib/linux/netns.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { listenSteered } from '../../lib/linux/socket.ts';
import { Sock } from './support/socket.ts';

const COOKIE = 0xfeed_beef_1234n;
const GENERATION = 77n;
const SELF = '198.18.80.1';
const SELF6 = 'fd00:80::1';
const AF_INET = 2;
const AF_INET6 = 10;
const TCP = 6;
const UDP = 17;
const DROP = 0;
const PASS = 1;
const KINDS = { outbound: 0, toApplication: 1, hairpin: 2 };

/** `struct bpf_sk_lookup`. The kernel lets a test leave ingress_ifindex zero only. */
function context(c: {
  protocol?: number;
  remote?: { ip: string; port: number };
  local: { ip: string; port: number };
}): Buffer<ArrayBuffer> {
  const bytes = buffer(64 + 4 + 4);
  const v6 = c.local.ip.includes(':');
  const remote = c.remote ?? { ip: v6 ? 'fd00:80::9' : '198.18.80.9', port: 40000 };
  bytes.writeUInt32LE(v6 ? AF_INET6 : AF_INET, 8);
  bytes.writeUInt32LE(c.protocol ?? TCP, 12);
  const skip = v6 ? 0 : 12;
  bytes.set((ipToBytes(remote.ip) ?? []).slice(skip), v6 ? 20 : 16);
  bytes.set((ipToBytes(c.local.ip) ?? []).slice(skip), v6 ? 44 : 40);
  bytes.writeUInt16BE(remote.port, 36);
  bytes.writeUInt32LE(c.local.port, 60);
  return bytes;
}

/** The cookie of the socket that the program chose. */
function chosen(bytes: Buffer): bigint {
  return bytes.readBigUInt64LE(0);
}

describe('bpf: the sk_lookup program alone (BPF_PROG_TEST_RUN)', () => {
  let object: LoadedObject;
  let program: number;
  let netnsFd: number;
  const listeners = new Map<ListenerRole, Sock>();
  const cookies = new Map<ListenerRole, bigint>();

  function map(name: string, keyBytes: number, valueBytes: number): BpfMap {
    const fd = object.maps.get(name);
    assert.ok(fd !== undefined);
    return new BpfMap(name, fd, keyBytes, valueBytes);
  }

  before(() => {
    const constants = encodeSelf(COOKIE, {
      generation: GENERATION,
      ips: [SELF, SELF6],
      cap: 0,
      portLow: 0,
      portCount: 0,
      deviceV4: 0,
      deviceV6: 0,
    });
    object = loadObject({ object: readObject('sk_lookup.bpf.o'), constants });
    program = object.programs.get('loam_sk_lookup') ?? -1;
    netnsFd = openCurrentNetns();
    for (const role of Object.keys(LISTENER_ROLES) as ListenerRole[]) {
      const listener = Sock.adoptSteered(listenSteered({ netnsFd }));
      const fd = buffer(8);
      fd.writeBigUInt64LE(BigInt(listener.fd), 0);
      const known = map('listeners', 16, 8);
      known.set(listenerKey(COOKIE, role), fd);
      listeners.set(role, listener);
      cookies.set(role, known.get(listenerKey(COOKIE, role))?.readBigUInt64LE(0) ?? 0n);
    }
  });
  after(() => {
    for (const listener of listeners.values()) listener.close();
    object?.[Symbol.dispose]();
    if (netnsFd !== undefined) closeFd(netnsFd);
  });

  function record(
    remote: { ip: string; port: number },
    local: { ip: string; port: number },
    kind: number,
    generation = GENERATION,
    ageS = 0,
  ): Disposable {
    const key = buffer(TUPLE_BYTES);
    const address = buffer(20);
    key.writeBigUInt64LE(COOKIE, 0);
    writeAddress(address, 0, remote);
    key.set(address.subarray(0, 16), 8);
    writeAddress(address, 0, local);
    key.set(address.subarray(0, 16), 24);
    key.writeUInt16LE(remote.port, 40);
    key.writeUInt16LE(local.port, 42);
    const value = buffer(RECORD_BYTES);
    value.writeBigUInt64LE(generation, 0);
    // On a machine that booted only now it began before the clock: the program's subtraction wraps round in the same way.
    const since = process.hrtime.bigint() - BigInt(ageS) * 1_000_000_000n;
    value.writeBigUInt64LE(BigInt.asUintN(64, since), 16);
    value.writeUInt32LE(kind, 24);
    map('records', TUPLE_BYTES, RECORD_BYTES).set(key, value);
    return { [Symbol.dispose]: () => void map('records', TUPLE_BYTES, RECORD_BYTES).delete(key) };
  }

  /** Runs it and says the verdict and whose listener was chosen. */
  function verdict(c: Parameters<typeof context>[0]): string {
    const bytes = context(c);
    const result = testRun(program, bytes);
    const role = [...cookies].find(([, cookie]) => cookie === chosen(bytes))?.[0];
    return result === DROP ? 'drop' : (role ?? (result === PASS ? 'pass' : `? ${result}`));
  }

  it('passes UDP', () => {
    for (const ip of [SELF, SELF6])
      assert.equal(verdict({ protocol: UDP, local: { ip, port: 8080 } }), 'pass');
  });

  for (const [name, self, other, elsewhere, internal] of [
    ['IPv4', SELF, '198.18.80.9', '203.0.113.1', ['127.0.0.1', '127.255.1.1']],
    ['IPv6', SELF6, 'fd00:80::9', '2001:db8::1', ['::1', 'fd5b:8c1d:9a6e::1:7']],
  ] as const) {
    const ephemeral = { ip: self, port: 61234 };
    const app = { ip: self, port: 8080 };
    const [source] = internal.slice(-1);

    it(`steers what comes from outside (${name})`, () => {
      assert.equal(verdict({ local: app }), 'plaintext');
      assert.equal(verdict({ local: { ip: self, port: 15008 } }), 'hbone');
      assert.equal(verdict({ local: { ip: elsewhere, port: 1 } }), 'plaintext');
      if (name === 'IPv6') assert.equal(verdict({ local: { ip: 'fe80::1', port: 1 } }), 'plaintext');
    });

    it(`drops its own and internal addresses without a record (${name})`, () => {
      for (const ip of [self, ...internal]) {
        assert.equal(verdict({ remote: { ip, port: 40000 }, local: app }), 'drop');
        assert.equal(verdict({ remote: { ip, port: 40000 }, local: { ip: self, port: 15008 } }), 'drop');
      }
      for (const ip of internal) {
        assert.equal(verdict({ remote: { ip: other, port: 1 }, local: { ip, port: 80 } }), 'drop');
      }
      assert.equal(
        verdict({ remote: { ip: elsewhere, port: 1 }, local: { ip: elsewhere, port: 80 } }),
        'drop',
      );
    });

    it(`does with a record what its kind says, and keeps it (F14, ${name})`, () => {
      const remote = { ip: self, port: 40000 };
      for (let i = 0; i < 2; i += 1) {
        using _ = record(remote, ephemeral, KINDS.outbound);
        assert.equal(verdict({ remote, local: ephemeral }), 'outbound');
        assert.equal(verdict({ remote, local: ephemeral }), 'outbound');
      }
      using _a = record({ ip: source ?? '', port: 1 }, app, KINDS.toApplication);
      assert.equal(verdict({ remote: { ip: source ?? '', port: 1 }, local: app }), 'pass');
      using _b = record(remote, { ip: self, port: 15008 }, KINDS.hairpin);
      assert.equal(verdict({ remote, local: { ip: self, port: 15008 } }), 'hbone');
      using _c = record(remote, app, KINDS.hairpin);
      assert.equal(verdict({ remote, local: app }), 'plaintext');
    });

    it(`drops a record of another enrolment, an old one and one of unknown kind (${name})`, () => {
      const remote = { ip: self, port: 40001 };
      for (const make of [
        () => record(remote, ephemeral, KINDS.outbound, GENERATION - 1n),
        () => record(remote, ephemeral, KINDS.outbound, GENERATION, 301),
        () => record(remote, ephemeral, 9),
      ]) {
        using _ = make();
        assert.equal(verdict({ remote, local: ephemeral }), 'drop');
      }
      using _ = record(remote, ephemeral, KINDS.outbound, GENERATION, 200);
      assert.equal(verdict({ remote, local: ephemeral }), 'outbound');
    });
  }

  it('drops an IPv6 packet with v4-mapped addresses, which would be found under an IPv4 record', () => {
    const bytes = context({ remote: { ip: 'fd00::9', port: 40000 }, local: { ip: SELF6, port: 8080 } });
    bytes.set(ipToBytes('198.18.80.9') ?? [], 20);
    assert.equal(testRun(program, bytes), DROP);
    const other = context({ local: { ip: SELF6, port: 8080 } });
    other.set(ipToBytes('255.255.255.255') ?? [], 44);
    assert.equal(testRun(program, other), DROP);
  });

  it('drops when a listener is gone', () => {
    listeners.get('plaintext')?.close();
    for (const ip of [SELF, SELF6]) {
      assert.equal(verdict({ local: { ip, port: 8080 } }), 'drop');
      assert.equal(verdict({ local: { ip, port: 15008 } }), 'hbone');
    }
  });

  it('counts by the names that user space has', () => {
    const sums = InstanceMaps.countersOf(object.maps.get('counters') ?? -1);
    const expected: Partial<Record<Counter, number>> = {
      droppedStale: 6,
      droppedMapped: 2,
      droppedNoListener: 2,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(sums[name as Counter], value, name);
  });

  it('is refused with its name and the end of the log when it cannot be loaded', () => {
    // A map of another type in its place is something that only the verifier notices.
    const wrong = object.maps.get('counters') ?? -1;
    assert.throws(
      () => loadObject({ object: readObject('sk_lookup.bpf.o'), maps: new Map([['listeners', wrong]]) }),
      (error: unknown) =>
        error instanceof BpfError &&
        error.code === 'BPF_VERIFIER' &&
        /refused program loam_sk_lookup/.test(error.message),
    );
    assert.throws(
      () => loadObject({ object: readObject('sk_lookup.bpf.o'), constants: buffer(3) }),
      /do not fit/,
    );
    assert.throws(
      () => loadObject({ object: readObject('none.bpf.o') }),
      /is missing; build it with bpf\/build.sh/,
    );
  });
});
