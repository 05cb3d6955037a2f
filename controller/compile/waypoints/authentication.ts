import { create } from '@bufbuild/protobuf';
import { RequestAuthenticationSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { JwtRule, RequestAuthentication } from '../../model/request-authentication.ts';
import { namespaceOf, type Service } from '../../model/objects.ts';
import { durationMs } from '../../schema/gateway-formats.ts';
import type { Outcomes } from '../outcomes.ts';
import { accepted, enforced } from '../policy-conditions.ts';
import { encodeResource, type PolicyPart, resourceLabel } from './part.ts';
import { attach } from './targets.ts';
import { keyOf, type Waypoint, type World } from './world.ts';

/** The RequestAuthentications that this waypoint enforces: those whose targetRefs lead to it. */
export function compileAuthentications(
  world: World,
  waypoint: Waypoint,
  served: readonly Service[],
  outcomes: Outcomes,
): PolicyPart {
  const attached = attach(world.objects.requestAuthentications, waypoint, served, world);
  const resources = new Map<string, Uint8Array>();
  for (const policy of attached.policies) {
    const name = `authentication/${keyOf(policy)}`;
    resources.set(name, encodeResource({ case: 'authentication', value: compileAuthentication(policy) }));
    const issuers = (policy.spec?.jwtRules ?? []).map(({ issuer }) => issuer);
    const what =
      issuers.length === 0 ? 'verifies no token by it' : `verifies tokens of ${issuers.join(', ')}`;
    const message = `waypoint ${waypoint.key} ${what}`;
    outcomes.add(policy, {
      message,
      conditions: [accepted(), enforced(message)],
      compiledTo: [resourceLabel(waypoint.key, name)],
    });
  }
  return { resources, forService: attached.forService };
}

function compileAuthentication(policy: RequestAuthentication) {
  return create(RequestAuthenticationSchema, {
    namespace: namespaceOf(policy),
    name: policy.metadata.name,
    jwtRules: (policy.spec?.jwtRules ?? []).map(compileJwtRule),
  });
}

function compileJwtRule(rule: JwtRule) {
  return {
    issuer: rule.issuer,
    audiences: [...(rule.audiences ?? [])],
    jwksUri: rule.jwksUri ?? '',
    jwks: rule.jwks ?? '',
    fromHeaders: (rule.fromHeaders ?? []).map(({ name, prefix = '' }) => ({
      name: name.toLowerCase(),
      prefix,
    })),
    fromParams: [...(rule.fromParams ?? [])],
    fromCookies: [...(rule.fromCookies ?? [])],
    outputPayloadToHeader: (rule.outputPayloadToHeader ?? '').toLowerCase(),
    forwardOriginalToken: rule.forwardOriginalToken ?? false,
    outputClaimToHeaders: (rule.outputClaimToHeaders ?? []).map(({ header, claim }) => ({
      header: header.toLowerCase(),
      claim,
    })),
    timeout: rule.timeout === undefined ? 0 : durationMs(rule.timeout),
  };
}
