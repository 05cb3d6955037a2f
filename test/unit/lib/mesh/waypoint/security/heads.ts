import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { RequestHead } from '../../../../../../lib/mesh/waypoint/request.ts';
import { AuthorizationPolicySchema } from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { Authorizer, type Decision } from '../../../../../../lib/mesh/waypoint/security/authorizer.ts';
import {
  type CompiledPolicy,
  compilePolicy,
} from '../../../../../../lib/mesh/waypoint/security/compile-policy.ts';

/** A request of shop/frontend for pay.shop:80; the fields given replace these. */
export function head(over: Partial<RequestHead> = {}): RequestHead {
  return {
    method: 'GET',
    authority: 'pay.shop',
    path: '/',
    query: '',
    protocol: 'http1',
    service: 'shop/pay.shop.svc.cluster.local',
    port: 80,
    destinationIp: '10.96.0.7',
    remoteIp: '198.51.100.9',
    jwt: undefined,
    source: {
      ip: '10.0.0.5',
      port: 40000,
      identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'frontend' },
      workload: undefined,
    },
    ...over,
    headers: Object.assign(Object.create(null) as object, over.headers),
  };
}

type PolicyInit = MessageInitShape<typeof AuthorizationPolicySchema>;

export function policy(init: PolicyInit): CompiledPolicy {
  return compilePolicy(create(AuthorizationPolicySchema, { namespace: 'shop', name: 'p', ...init }));
}

/** What one policy alone decides. */
export function decide(init: PolicyInit, request: RequestHead): Decision['verdict'] {
  return new Authorizer([policy(init)]).evaluate(request).verdict;
}
