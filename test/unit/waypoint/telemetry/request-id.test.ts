import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Headers } from '../../../../lib/mesh/waypoint/request.ts';
import { ensureRequestId } from '../../../../waypoint/telemetry/request-id.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('waypoint/telemetry/request-id', () => {
  it('keeps a plain token', () => {
    for (const id of [
      'abc',
      '5f2c7a0e-7d3f-4f3e-9a36-000000000001',
      'a'.repeat(128),
      'Root=1-67891233-abc',
    ]) {
      const headers: Headers = { 'x-request-id': id };
      assert.equal(ensureRequestId(headers), id);
      assert.equal(headers['x-request-id'], id);
    }
  });

  it('makes one in place of none, of what is no token, and of several', () => {
    const bad = [undefined, '', 'a'.repeat(129), 'a b', 'a\nb', 'ü', '"x"', 'a, b', ['a', 'b']];
    for (const given of bad) {
      const headers: Headers = { 'x-request-id': given };
      const id = ensureRequestId(headers);
      assert.match(id, UUID, JSON.stringify(given));
      assert.equal(headers['x-request-id'], id);
    }
  });
});
