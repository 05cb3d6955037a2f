import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { EMPTY_SNAPSHOT, patchSnapshot } from '../../../../controller/xds/snapshot.ts';

describe('xds: the state of the mesh', () => {
  it('begins empty for each kind by itself: what comes first of one is none of another', () => {
    const resource = { name: 'Kubernetes//Pod/m/a', bytes: new Uint8Array([1]), aliases: [], members: [] };
    const first = patchSnapshot(1, EMPTY_SNAPSHOT, {
      addresses: new Map([[resource.name, resource]]),
      egress: new Map(),
    });
    assert.deepEqual([...first.addresses.resources.keys()], [resource.name]);
    assert.equal(first.authorizations.resources.size, 0);
    assert.equal(EMPTY_SNAPSHOT.addresses.resources.size, 0);
  });
});
