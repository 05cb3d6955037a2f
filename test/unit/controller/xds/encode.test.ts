import assert from 'node:assert/strict';
import { zstdCompressSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import type { OutgoingResponse } from '../../../../controller/xds/delta-stream.ts';
import { encodeResponse } from '../../../../controller/xds/encode.ts';
import type { SharedWire } from '../../../../controller/xds/first-state.ts';
import { ADDRESS_TYPE, type VersionedResource } from '../../../../controller/xds/snapshot.ts';
import { readResponse } from '../../../../lib/mesh/xds/packed.ts';
import { DeltaDiscoveryResponseSchema } from '../../../../proto/gen/envoy/discovery_pb.js';

function resource(name: string, size: number): VersionedResource {
  const bytes = new Uint8Array(size).fill(name.length);
  return { name, version: `v-${name}`, bytes, aliases: [`/${name}`, `/other/${name}`], members: [] };
}

describe('xds/encode', () => {
  // Lengths around those at which a varint becomes longer.
  const resources = [0, 1, 20, 40, 100, 127, 128, 16_000, 16_384, 2_100_000].map((size) =>
    resource(`r${size}`, size),
  );
  for (const withAliases of [false, true]) {
    it(`is what a client reads, ${withAliases ? 'with' : 'without'} aliases, each time it is sent`, () => {
      for (const nonce of ['1-1', '1-2']) {
        const read = fromBinary(
          DeltaDiscoveryResponseSchema,
          encodeResponse({
            ...{ typeUrl: ADDRESS_TYPE, nonce, systemVersionInfo: '7', resources, withAliases },
            removedResources: ['gone', 'away'],
          }),
        );
        assert.deepEqual(
          [read.typeUrl, read.nonce, read.systemVersionInfo, read.removedResources],
          [ADDRESS_TYPE, nonce, '7', ['gone', 'away']],
        );
        assert.equal(read.resources.length, resources.length);
        for (const [i, { name, version, bytes, aliases }] of resources.entries()) {
          const got = read.resources[i];
          assert.deepEqual(
            [got?.name, got?.version, got?.aliases],
            [name, version, withAliases ? aliases : []],
          );
          assert.equal(got?.resource?.typeUrl, ADDRESS_TYPE);
          assert.equal(Buffer.compare(got.resource.value, bytes), 0, name);
        }
      }
    });
  }

  it('compresses what is shared, once, for those who read that, and for no others', () => {
    const shared: SharedWire = {};
    const response: Omit<OutgoingResponse, 'nonce'> = {
      ...{ typeUrl: ADDRESS_TYPE, systemVersionInfo: '7', resources, withAliases: false },
      ...{ shared, removedResources: ['gone'] },
    };
    const plain = encodeResponse({ ...response, nonce: 'a' });
    const [one, other] = ['b', 'c'].map((nonce) => encodeResponse({ ...response, nonce }, true));
    assert(one !== undefined && other !== undefined);
    assert(one.length < plain.length / 100, 'bytes that are all the same are compressed well');
    assert.equal(typeof shared.packed, 'object');
    assert(one.includes(shared.packed as Uint8Array) && other.includes(shared.packed as Uint8Array));
    for (const [bytes, nonce] of [
      [plain, 'a'],
      [one, 'b'],
      [other, 'c'],
    ] as const) {
      const read = readResponse(bytes);
      assert.deepEqual([read.nonce, read.removedResources], [nonce, ['gone']]);
      assert.deepEqual(
        read.resources.map(({ name, version, resource: found }) => [name, version, found?.value.length]),
        resources.map(({ name, version, bytes: { length } }) => [name, version, length]),
      );
      assert.equal(read.loamPackedResources.length, 0);
    }
  });

  it('compresses neither little nor more than a client reads', () => {
    for (const some of [resources.slice(0, 3), [resource('large', 4 * 1024 * 1024)]]) {
      const response: OutgoingResponse = {
        ...{ typeUrl: ADDRESS_TYPE, systemVersionInfo: '7', nonce: 'a', withAliases: false },
        ...{ resources: some, removedResources: [], shared: {} },
      };
      assert(encodeResponse(response, true).equals(encodeResponse(response)));
    }
  });
});

describe('mesh/xds/packed', () => {
  const packedBy = (bytes: Uint8Array): Uint8Array =>
    toBinary(
      DeltaDiscoveryResponseSchema,
      create(DeltaDiscoveryResponseSchema, { loamPackedResources: zstdCompressSync(bytes) }),
    );

  it('refuses more than a message may hold, however little it is when compressed', () => {
    const bytes = packedBy(new Uint8Array(64 * 1024 * 1024));
    assert(bytes.length < 64 * 1024);
    assert.throws(() => readResponse(bytes), { code: 'ERR_BUFFER_TOO_LARGE' });
  });

  it('refuses what is broken', () => {
    const bytes = packedBy(Buffer.from('no resources'));
    assert.throws(() => readResponse(bytes));
    const broken = create(DeltaDiscoveryResponseSchema, { loamPackedResources: Buffer.from('not zstd') });
    assert.throws(() => readResponse(toBinary(DeltaDiscoveryResponseSchema, broken)));
  });
});
