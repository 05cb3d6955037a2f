import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, it } from 'mocha';
import { Subscription } from '../../../../../lib/mesh/xds/subscription.ts';
import { DeltaDiscoveryResponseSchema } from '../../../../../proto/gen/envoy/discovery_pb.js';

const TYPE = 'type/of.tests';
const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('xds subscription: what an earlier process had', () => {
  let applied: { upserts: readonly string[]; removed: readonly string[] }[];
  let subscription: Subscription<string>;

  beforeEach(async () => {
    applied = [];
    subscription = new Subscription<string>({
      typeUrl: TYPE,
      decode: (_name, value) => {
        const text = Buffer.from(value).toString();
        if (text === 'broken') throw new Error('cannot be read');
        return { value: text, errors: text === 'half' ? [new Error('half of it is wrong')] : [] };
      },
      apply: (delta) => void applied.push(delta),
    });
    await subscription.restore([
      { name: 'a', version: '7', value: bytes('A') },
      { name: 'b', version: '1', value: bytes('broken') },
    ]);
  });

  it('is in force, but for what cannot be read, and only changes are asked for', () => {
    assert.deepEqual(applied, [{ upserts: ['A'], removed: [] }]);
    assert.deepEqual({ ...subscription.initialVersions() }, { a: '7' });
    assert.equal(subscription.answered, false, 'no server has answered');
  });

  it('is completed by the first answer, whose parts are told as they were sent', async () => {
    const resource = (name: string, text: string) => ({
      ...{ name, version: '2' },
      resource: { typeUrl: TYPE, value: bytes(text) },
    });
    const response = create(DeltaDiscoveryResponseSchema, {
      ...{ typeUrl: TYPE, nonce: 'n', removedResources: ['a'] },
      resources: [resource('b', 'B'), resource('c', 'half'), resource('d', 'broken')],
    });
    const { raw, nack } = await subscription.handle(response, () => Promise.resolve());
    assert.match(nack ?? '', /half of it is wrong; cannot be read/);
    assert.deepEqual(
      raw.upserts.map(({ name, version, value }) => [name, version, Buffer.from(value).toString()]),
      [
        ['b', '2', 'B'],
        ['c', '', 'half'],
      ],
    );
    assert.deepEqual(raw.removed, ['a']);
    assert.deepEqual({ ...subscription.initialVersions() }, { b: '2', c: '' });
  });
});
