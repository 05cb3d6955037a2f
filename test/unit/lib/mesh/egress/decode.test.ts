import assert from 'node:assert/strict';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { MeshError } from '../../../../../lib/mesh/errors.ts';
import { ResourceError } from '../../../../../lib/mesh/state/resource-error.ts';
import {
  type PolicySchema,
  ResourceSchema,
  UnknownDestinations,
} from '../../../../../proto/gen/loam/egress/v1/egress_pb.js';
import { decodeEgress } from '../../../../../lib/mesh/egress/decode.ts';
import type { EgressRule } from '../../../../../lib/mesh/egress/model.ts';

type RuleInit = NonNullable<MessageInitShape<typeof PolicySchema>['rules']>[number];

const bytesOf = (init: MessageInitShape<typeof ResourceSchema>): Uint8Array =>
  toBinary(ResourceSchema, create(ResourceSchema, init));
const policyBytes = (...rules: RuleInit[]): Uint8Array =>
  bytesOf({ kind: { case: 'policy', value: { namespace: 'shop', name: 'p', rules } } });
const ruleOf = (init: RuleInit): EgressRule => {
  const found = decodeEgress('policy/shop/p', policyBytes(init));
  assert(found.kind === 'policy' && found.rules[0] !== undefined);
  return found.rules[0];
};
const cidr = (address: number[], length: number) => ({ address: Uint8Array.from(address), length });

/** A field that no version of today has: number 99, a varint. */
const NEWER = { no: 99, wireType: 0, data: Uint8Array.of(1) };

describe('ztunnel/egress/decode', () => {
  it('reads a workload', () => {
    const value = { uid: 'u', policies: ['shop/p'], unknownDestinations: UnknownDestinations.ALLOW };
    assert.deepEqual(decodeEgress('workload/u', bytesOf({ kind: { case: 'workload', value } })), {
      kind: 'workload',
      uid: 'u',
      policies: ['shop/p'],
      unknownDestinations: 'allow',
    });
  });

  it('reads every field of a rule, of both families', () => {
    const rule = ruleOf({
      services: [{ key: 'shop/a.shop.svc.cluster.local' }],
      serviceAccounts: [{ namespace: 'shop', name: 'a' }],
      principals: [
        { match: { case: 'prefix', value: 'td/ns/shop/' } },
        { match: { case: 'any', value: true } },
      ],
      namespaces: ['data'],
      blocks: [
        { cidr: cidr([10, 0, 0, 0], 8), except: [cidr([10, 1, 0, 0], 16)] },
        { cidr: cidr(new Array<number>(16).fill(0), 0) },
      ],
      ports: [{ first: 80, last: 90 }],
    });
    assert.deepEqual(rule, {
      services: ['shop/a.shop.svc.cluster.local'],
      serviceAccounts: [{ namespace: 'shop', serviceAccount: 'a' }],
      principals: [{ how: 'prefix', text: 'td/ns/shop/' }, { how: 'presence' }],
      namespaces: ['data'],
      blocks: [
        { cidr: { bytes: [10, 0, 0, 0], length: 8 }, except: [{ bytes: [10, 1, 0, 0], length: 16 }] },
        { cidr: { bytes: new Array<number>(16).fill(0), length: 0 }, except: [] },
      ],
      ports: [{ first: 80, last: 90 }],
    });
  });

  it('treats what a later version may say of unknown destinations as the strictest', () => {
    for (const unknownDestinations of [UnknownDestinations.UNSPECIFIED, UnknownDestinations.REFUSE, 7]) {
      const value = {
        uid: 'u',
        policies: [],
        unknownDestinations: unknownDestinations as UnknownDestinations,
      };
      const found = decodeEgress('workload/u', bytesOf({ kind: { case: 'workload', value } }));
      assert(found.kind === 'workload');
      assert.equal(found.unknownDestinations, 'refuse');
    }
  });

  it('marks what is newer than itself, wherever it stands, so that it allows nothing', () => {
    const account = create(ResourceSchema, {
      kind: { case: 'policy', value: { namespace: 'shop', name: 'p', rules: [{ namespaces: ['a'] }] } },
    });
    assert(account.kind.case === 'policy');
    const [rule] = account.kind.value.rules;
    assert(rule !== undefined);
    for (const part of [rule, account.kind.value]) {
      part.$unknown = [NEWER];
      const found = decodeEgress('policy/shop/p', toBinary(ResourceSchema, account));
      assert(found.kind === 'policy');
      const marked = part === rule ? found.rules[0]?.unsupported : found.unsupported;
      assert.match(marked ?? '', /does not know/);
      delete part.$unknown;
    }
    // An unset oneof: a kind of match that is not known. An empty one without it is an error.
    const principal = create(ResourceSchema, {
      kind: { case: 'policy', value: { namespace: 'shop', name: 'p', rules: [{ principals: [{}] }] } },
    });
    assert.throws(
      () => decodeEgress('policy/shop/p', toBinary(ResourceSchema, principal)),
      /principals\[0\]/,
    );
    assert(principal.kind.case === 'policy');
    const match = principal.kind.value.rules[0]?.principals[0];
    assert(match !== undefined);
    match.$unknown = [NEWER];
    const found = decodeEgress('policy/shop/p', toBinary(ResourceSchema, principal));
    assert(found.kind === 'policy');
    assert.match(found.rules[0]?.unsupported ?? '', /does not know/);
  });

  const wrong: readonly (readonly [string, RuleInit, RegExp])[] = [
    ['a rule that names nothing', {}, /rules\[0\]/],
    ['port 0', { ports: [{ first: 0, last: 80 }] }, /ports\[0\].*"0-80"/],
    ['ports that run backwards', { ports: [{ first: 90, last: 80 }] }, /ports\[0\]/],
    ['a port beyond 65535', { ports: [{ first: 80, last: 65536 }] }, /ports\[0\]/],
    ['a block without an address', { blocks: [{}] }, /blocks\[0\]\.cidr/],
    ['a block of 5 bytes', { blocks: [{ cidr: cidr([1, 2, 3, 4, 5], 8) }] }, /blocks\[0\]\.cidr/],
    ['a length beyond the address', { blocks: [{ cidr: cidr([1, 2, 3, 4], 33) }] }, /blocks\[0\]\.cidr/],
    [
      'a length left out',
      { blocks: [{ cidr: { address: Uint8Array.of(1, 2, 3, 4) } }] },
      /blocks\[0\]\.cidr/,
    ],
    [
      'a broken exception',
      { blocks: [{ cidr: cidr([1, 2, 3, 4], 8), except: [cidr([1], 8)] }] },
      /except\[0\]/,
    ],
    ['a Service without a name', { services: [{ key: '' }] }, /services\[0\]\.key/],
    [
      'an account without a namespace',
      { serviceAccounts: [{ name: 'a' }] },
      /service_accounts\[0\]\.namespace/,
    ],
    ['a namespace without a name', { namespaces: [''] }, /namespaces\[0\]/],
    ['an endless name', { namespaces: ['a'.repeat(2000)] }, /namespaces\[0\]/],
    ['too many values', { namespaces: new Array<string>(1001).fill('a') }, /namespaces/],
  ];
  for (const [what, init, message] of wrong) {
    it(`refuses ${what}, and names the place`, () => {
      assert.throws(
        () => decodeEgress('policy/shop/p', policyBytes(init)),
        (error: unknown) => {
          assert(error instanceof ResourceError);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  it('refuses what has another name than the stream gives it', () => {
    assert.throws(() => decodeEgress('policy/shop/q', policyBytes()), /shop\/p/);
    const value = { uid: 'u', policies: [] };
    assert.throws(() => decodeEgress('workload/v', bytesOf({ kind: { case: 'workload', value } })), /uid/);
    assert.throws(() => decodeEgress('workload/v', bytesOf({})), /kind/);
  });

  it('throws nothing but its own error, whatever bytes it is given', () => {
    const good = policyBytes({
      services: [{ key: 'a/b' }],
      blocks: [{ cidr: cidr([10, 0, 0, 0], 8) }],
      ports: [{ first: 1, last: 2 }],
    });
    const mutated = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
      .map((changes) => {
        const bytes = Uint8Array.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        try {
          decodeEgress('policy/shop/p', bytes);
        } catch (error) {
          assert(error instanceof MeshError, String(error));
        }
      }),
      { numRuns: 5_000 },
    );
  });
});
