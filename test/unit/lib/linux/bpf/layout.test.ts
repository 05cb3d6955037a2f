import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  ADDRESS_BYTES,
  buffer,
  COUNTERS,
  decodePod,
  encodePod,
  OWN_SOCKET_BYTES,
  readAddress,
  writeAddress,
  writeOwnSocket,
} from '../../../../../lib/linux/bpf/layout.ts';
import { canonicalIp } from '../../../../../lib/linux/ip.ts';
import { packageRoot } from '../../../../../lib/package-root.ts';

describe('layout of what BPF programs and user space share', () => {
  const port = fc.integer({ min: 0, max: 65535 });

  it('reads back any address that it writes', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.ipV4(),
          fc.ipV6().map((ip) => canonicalIp(ip) ?? ''),
        ),
        port,
        (ip, port) => {
          const out = buffer(ADDRESS_BYTES);
          writeAddress(out, 0, { ip, port });
          assert.deepEqual(readAddress(out, 0), { ip, port });
        },
      ),
    );
  });

  it('keeps IPv4 as ::ffff:, port in network order', () => {
    const out = buffer(ADDRESS_BYTES);
    writeAddress(out, 0, { ip: '192.0.2.1', port: 0x1234 });
    assert.equal(out.toString('hex'), '00000000000000000000ffffc000020112340000');
    writeAddress(out, 0, { ip: '::ffff:192.0.2.2', port: 1 });
    assert.deepEqual(readAddress(out, 0), { ip: '192.0.2.2', port: 1 });
    assert.deepEqual(readAddress(buffer(ADDRESS_BYTES), 0), { ip: '::', port: 0 });
  });

  it('refuses what is no address or no port', () => {
    for (const ip of [
      '',
      '1.2.3',
      '256.1.1.1',
      'fd00::g',
      'fe80::1%eth0',
      '127.1',
      'localhost',
      '0x7f.0.0.1',
    ]) {
      assert.throws(() => writeAddress(buffer(20), 0, { ip, port: 1 }), /is no IP address/);
    }
    for (const port of [-1, 65536, 1.5, Number.NaN]) {
      assert.throws(() => writeAddress(buffer(20), 0, { ip: '192.0.2.1', port }), /is not a port/);
    }
  });

  it('leaves nothing of an earlier mark in the buffer that is used again', () => {
    const out = buffer(OWN_SOCKET_BYTES);
    writeOwnSocket(out, { ip: '192.0.2.1', port: 80 });
    assert.equal(out.readUInt32LE(20), 1);
    writeOwnSocket(out, undefined);
    assert.deepEqual(out, buffer(OWN_SOCKET_BYTES));
  });

  it('reads back a pod', () => {
    for (const ips of [['198.18.1.2'], ['fd00::2'], ['198.18.1.2', 'fd00::2']]) {
      const pod = {
        generation: 2n ** 60n,
        ips,
        cap: 2048,
        portLow: 61000,
        portCount: 4536,
        deviceV4: 2,
        deviceV6: 3,
      };
      assert.deepEqual(decodePod(encodePod(pod)), pod);
    }
  });

  it('names the counters in the order of bpf/counters.h', () => {
    const source = readFileSync(join(packageRoot(), 'bpf', 'counters.h'), 'utf8');
    const body = /enum counter \{([^}]*)\}/.exec(source)?.[1] ?? '';
    const names = [...body.replace(/\/\*.*?\*\//g, '').matchAll(/\b([A-Z][A-Z0-9_]+),/g)].map(
      ([, name = '']) => name,
    );
    const camel = (name: string) =>
      name.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    assert.deepEqual([...COUNTERS, 'counters'], names.map(camel));
  });
});
