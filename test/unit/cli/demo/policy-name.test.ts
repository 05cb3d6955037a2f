import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { policyName } from '../../../../cli/demo/policy-name.ts';
import type { ObjectStatus } from '../../../../cli/local/status.ts';

function peer(name: string, message: string, ...compiledTo: string[]): ObjectStatus {
  const base = { kind: 'PeerAuthentication', namespace: 'shop', file: 'p.yaml', lastGood: false };
  return { ...base, name, message, compiledTo, state: 'accepted' };
}

const STRICT = 'loam-system/istio_converted_static_strict';

describe('demo: names of policies', () => {
  it('leaves alone what the manifests name', () => {
    assert.equal(policyName('shop/a, shop/b', []), 'shop/a, shop/b');
  });

  it('names the PeerAuthentication that a policy was made of', () => {
    const lax = peer('lax', 'plaintext is admitted');
    const strict = peer('strict', 'plaintext is denied', `Authorization ${STRICT}`);
    const ports = peer(
      'ports',
      'plaintext is denied except on ports 9',
      'Authorization shop/converted (denies)',
    );
    assert.equal(policyName(STRICT, [lax, strict, ports]), 'PeerAuthentication shop/strict');
    assert.equal(policyName(`shop/a, ${STRICT}`, []), 'shop/a, PeerAuthentication with STRICT');
    assert.equal(policyName('shop/converted', [strict, ports]), 'PeerAuthentication shop/ports');
  });
});
