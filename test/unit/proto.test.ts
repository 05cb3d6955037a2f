import assert from 'node:assert/strict';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { AddressSchema, TunnelProtocol } from '../../proto/gen/istio/workload/workload_pb.js';

describe('proto', () => {
  it('keeps a workload over the wire', () => {
    const address = create(AddressSchema, {
      type: { case: 'workload', value: { uid: 'c//Pod/ns/p', tunnelProtocol: TunnelProtocol.HBONE } },
    });
    const back = fromBinary(AddressSchema, toBinary(AddressSchema, address));
    assert.deepEqual(back, address);
    assert.equal(back.type.case === 'workload' && back.type.value.tunnelProtocol, TunnelProtocol.HBONE);
  });
});
