import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { encodeResponse } from '../../../../controller/xds/encode.ts';
import { ADDRESS_TYPE, type VersionedResource } from '../../../../controller/xds/snapshot.ts';
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
});
