import assert from 'node:assert/strict';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { LoamError } from '../../../lib/loam-error.ts';
import { evaluate, type ConnectionFacts } from '../../../lib/mesh/policy/evaluate.ts';
import { decodePolicy } from '../../../lib/mesh/state/decode.ts';
import { PolicyStore } from '../../../lib/mesh/state/policy-store.ts';
import { AuthorizationSchema } from '../../../proto/gen/istio/security/authorization_pb.js';
import { expectedVerdict } from '../../unit/lib/mesh/policy/reference-evaluator.ts';
import { mutateProtobuf } from '../engine/mutate-protobuf.ts';
import type { FuzzTarget } from '../engine/target.ts';

const text = (how: 'exact' | 'prefix' | 'suffix', value: string) =>
  ({ matchType: { case: how, value } }) as const;
const block = (length: number, ...bytes: number[]) => ({ address: Uint8Array.from(bytes), length });

function wire(init: MessageInitShape<typeof AuthorizationSchema>): Uint8Array {
  return toBinary(
    AuthorizationSchema,
    create(AuthorizationSchema, { name: 'p', namespace: 'shop', ...init }),
  );
}

const identity = (namespace: string, serviceAccount: string) => ({
  trustDomain: 'cluster.local',
  namespace,
  serviceAccount,
});
const CONNECTIONS: readonly ConnectionFacts[] = [
  { sourceIdentity: identity('shop', 'web'), sourceIp: '198.18.0.1', destIp: '198.18.0.9', destPort: 80 },
  { sourceIdentity: identity('db', 'api'), sourceIp: '10.0.0.7', destIp: '198.18.0.9', destPort: 5432 },
  { sourceIp: '198.18.1.1', destIp: '198.18.0.9', destPort: 80 },
];

/** An `istio.security.Authorization`, as a node decodes and enforces it. */
export const target: FuzzTarget = {
  name: 'xds-authorization',
  mutate: mutateProtobuf,
  seeds: [0, 1].flatMap((action) => [
    wire({ action }),
    wire({ action, rules: [{}] }),
    wire({
      action,
      scope: 2,
      rules: [
        {
          clauses: [
            {
              matches: [
                { principals: [text('exact', 'cluster.local/ns/shop/sa/web')] },
                { notNamespaces: [text('prefix', 'sh')] },
              ],
            },
            {
              matches: [
                {
                  destinationPorts: [80],
                  notDestinationPorts: [81],
                  destinationIps: [block(24, 198, 18, 0, 0)],
                },
              ],
            },
          ],
        },
        {
          clauses: [
            {
              matches: [{ sourceIps: [block(16, 198, 18, 0, 0)], notSourceIps: [block(32, 198, 18, 0, 1)] }],
            },
          ],
        },
        {
          clauses: [
            {
              matches: [
                {
                  serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }],
                  namespaces: [text('suffix', 'op')],
                },
              ],
            },
          ],
        },
      ],
    }),
  ]),
  run(input) {
    let key = '';
    try {
      const { namespace, name } = fromBinary(AuthorizationSchema, input);
      key = `${namespace}/${name}`;
    } catch {
      // Then decodePolicy has to say so.
    }
    let decoded;
    try {
      decoded = decodePolicy(key, input);
    } catch (error) {
      assert.ok(error instanceof LoamError, String(error));
      return;
    }
    assert.deepEqual(decodePolicy(key, input), decoded, 'the same bytes mean the same');
    const { policy } = decoded;
    const store = new PolicyStore();
    store.upsert(policy);
    const destination = {
      namespace: policy.namespace,
      authorizationPolicies: policy.scope === 'workload' ? [key] : [],
    };
    for (const facts of CONNECTIONS) {
      const { verdict } = evaluate(store, destination, facts);
      const source = facts.sourceIdentity;
      const expected = expectedVerdict([policy], {
        ...facts,
        principal:
          source === undefined ? '' : `cluster.local/ns/${source.namespace}/sa/${source.serviceAccount}`,
      });
      assert.equal(verdict, expected, 'another meaning than the reference has');
      if (policy.unsupported !== undefined && !policy.dryRun)
        assert.equal(verdict, 'deny', 'what is not understood denies, and never allows');
      const empty = policy.rules.flatMap(({ clauses }) => clauses).flatMap(({ matches }) => matches);
      if (policy.action === 'allow' && !policy.dryRun && policy.rules.length === 0)
        assert.equal(verdict, 'deny', `an ALLOW without rules allows nothing (${empty.length})`);
    }
  },
};
