import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { HashKeySchema } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { hashKeyOf } from '../../../../waypoint/resilience/hash-key.ts';
import { head } from './tools.ts';

const key = (source: MessageInitShape<typeof HashKeySchema>['source'], request = head()) =>
  hashKeyOf(create(HashKeySchema, source === undefined ? {} : { source }), request);

describe('waypoint/resilience/hash-key', () => {
  it('loadBalancing.hash.header: its value, whatever case the policy has', () => {
    assert.equal(key({ case: 'header', value: 'X-User' }, head({ 'x-user': 'alice' })), 'alice');
    assert.equal(key({ case: 'header', value: 'x-user' }), undefined);
    assert.equal(key({ case: 'header', value: 'constructor' }), undefined);
  });

  it('loadBalancing.hash.cookie: its value', () => {
    assert.equal(key({ case: 'cookie', value: 'sid' }, head({ cookie: 'a=1; sid="x y"; sid=2' })), 'x y');
    assert.equal(key({ case: 'cookie', value: 'sid' }, head({ cookie: 'asid=1; sid' })), undefined);
  });

  it('loadBalancing.hash.query: its first value', () => {
    assert.equal(
      key({ case: 'query', value: 'user' }, head({}, { query: 'a=1&user=al%20ice&user=bob' })),
      'al ice',
    );
    assert.equal(key({ case: 'query', value: 'user' }, head({}, { query: '%zz&users=1' })), undefined);
  });

  it("loadBalancing.hash.sourceIp: the client's address", () => {
    assert.equal(key({ case: 'sourceIp', value: true }), '198.18.0.9');
  });

  it('nothing without a hash', () => {
    assert.equal(key(undefined), undefined);
    assert.equal(hashKeyOf(undefined, head()), undefined);
  });
});
