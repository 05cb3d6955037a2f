import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { changedRoutes, configuredShares } from '../../../../cli/demo/splits.ts';

function route(weight: number) {
  return {
    metadata: { name: 'payments', namespace: 'shop' },
    spec: {
      rules: [
        {
          backendRefs: [
            { name: 'v1', weight },
            { name: 'v2', weight: 10 },
          ],
        },
      ],
    },
  };
}

describe('what a route splits', () => {
  it('is counted anew where its weights change, and only there', () => {
    const before = configuredShares([route(90)]);
    assert.deepEqual(changedRoutes(before, configuredShares([route(90)])), []);
    assert.deepEqual(changedRoutes(before, configuredShares([route(10)])), ['HTTPRoute/shop/payments#0']);
    assert.deepEqual(changedRoutes(before, new Map()), ['HTTPRoute/shop/payments#0']);
    assert.deepEqual(changedRoutes(new Map(), before), []);
  });
});
