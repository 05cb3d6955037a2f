import { create } from '@bufbuild/protobuf';
import {
  Action,
  type Authorization,
  AuthorizationSchema,
  ClauseSchema,
  MatchSchema,
  RuleSchema,
  Scope,
} from '../../proto/gen/istio/security/authorization_pb.js';
import type { Condition } from './outcomes.ts';
import { accepted, enforced, notAccepted, notEnforced } from './policy-conditions.ts';
import { hasSelector, labelsMatch } from '../model/labels.ts';
import { type Labels, type MtlsMode, namespaceOf, type PeerAuthentication } from '../model/objects.ts';

// Istio's names (ambient-facts C7): tools that read a ztunnel's configuration know them.
const STATIC_STRICT = 'istio_converted_static_strict';
const CONVERTED_PREFIX = 'converted_peer_authentication_';

/** Peer authentication as a workload sees it. */
interface Effective {
  readonly strict: boolean;
  /** Ports whose mode differs from `strict`. */
  readonly exceptions: readonly number[];
}

/** The compiled peer authentications of the mesh. */
export interface PeerAuthenticationPlan {
  /** Policies made for objects with ports of their own, by objectKey-independent resource name. */
  readonly converted: ReadonlyMap<PeerAuthentication, Authorization>;
  /** The policy that forbids plaintext, which many workloads share. */
  readonly staticStrict: Authorization;
  /** The policy to attach to a pod, if plaintext is forbidden for it in any way. */
  policyFor(namespace: string, labels: Labels): Authorization | undefined;
  /** The policy that an object leads to, so that a reader of a denial by it finds the object. */
  policyOf(object: PeerAuthentication): Authorization | undefined;
  /** What an object came to, for its status. */
  message(object: PeerAuthentication): string;
  conditions(object: PeerAuthentication): readonly Condition[];
}

/** Plans all objects: workload beats namespace beats mesh, UNSET inherits, of equals the oldest counts (Istio's rules). */
export function planPeerAuthentication(
  all: readonly PeerAuthentication[],
  rootNamespace: string,
): PeerAuthenticationPlan {
  const sorted = [...all].sort(oldestFirst);
  const mesh = sorted.find(
    (object) => namespaceOf(object) === rootNamespace && !hasSelector(object.spec?.selector),
  );
  const meshStrict = isStrict(modeOf(mesh), false);
  const namespaceObject = (namespace: string): PeerAuthentication | undefined =>
    namespace === rootNamespace
      ? undefined
      : sorted.find((object) => namespaceOf(object) === namespace && !hasSelector(object.spec?.selector));
  const namespaceStrict = (namespace: string): boolean =>
    isStrict(modeOf(namespaceObject(namespace)), meshStrict);

  const effective = (object: PeerAuthentication): Effective => {
    const strict = isStrict(modeOf(object), namespaceStrict(namespaceOf(object)));
    const ports = Object.entries(object.spec?.portLevelMtls ?? {});
    const exceptions = ports
      .filter(([, { mode }]) => isStrict(mode, strict) !== strict)
      .map(([port]) => Number(port));
    return { strict, exceptions: exceptions.sort((a, b) => a - b) };
  };

  const staticStrict = create(AuthorizationSchema, {
    name: STATIC_STRICT,
    namespace: rootNamespace,
    scope: Scope.WORKLOAD_SELECTOR,
    action: Action.DENY,
    rules: [{ clauses: [{ matches: [noPrincipal()] }] }],
  });
  const converted = new Map<PeerAuthentication, Authorization>();
  for (const object of sorted) {
    if (!hasSelector(object.spec?.selector)) continue;
    const { strict, exceptions } = effective(object);
    if (exceptions.length > 0) converted.set(object, convert(object, strict, exceptions));
  }
  const objectFor = (namespace: string, labels: Labels): PeerAuthentication | undefined =>
    sorted.find(
      (object) =>
        namespaceOf(object) === namespace &&
        hasSelector(object.spec?.selector) &&
        labelsMatch(object.spec.selector.matchLabels, labels),
    );
  /** The object that counts in place of this one, if there is one. */
  const overruling = (object: PeerAuthentication): PeerAuthentication | undefined => {
    if (hasSelector(object.spec?.selector)) return undefined;
    const namespace = namespaceOf(object);
    const counts = namespace === rootNamespace ? mesh : namespaceObject(namespace);
    return object === counts ? undefined : counts;
  };
  return {
    converted,
    staticStrict,
    policyFor(namespace, labels) {
      const object = objectFor(namespace, labels);
      if (object === undefined) return namespaceStrict(namespace) ? staticStrict : undefined;
      return converted.get(object) ?? (effective(object).strict ? staticStrict : undefined);
    },
    policyOf(object) {
      if (overruling(object) !== undefined) return undefined;
      return converted.get(object) ?? (effective(object).strict ? staticStrict : undefined);
    },
    message(object) {
      return overruledText(overruling(object)) ?? describe(effective(object), object);
    },
    conditions(object) {
      const overruled = overruledText(overruling(object));
      return overruled === undefined
        ? [accepted(), enforced(describe(effective(object), object))]
        : [notAccepted('Conflicted', overruled), notEnforced('Conflicted', overruled)];
    },
  };
}

function overruledText(by: PeerAuthentication | undefined): string | undefined {
  return by && `has no effect: ${by.metadata.name} is older and counts for the same scope`;
}

function oldestFirst(a: PeerAuthentication, b: PeerAuthentication): number {
  // Objects from files mostly have no time of creation: then the name decides, so that the order is at least stable.
  const age = (object: PeerAuthentication): string => object.metadata.creationTimestamp ?? '9999';
  const byAge = age(a) < age(b) ? -1 : age(a) > age(b) ? 1 : 0;
  return byAge !== 0 ? byAge : a.metadata.name < b.metadata.name ? -1 : 1;
}

function modeOf(object: PeerAuthentication | undefined): MtlsMode | undefined {
  return object?.spec?.mtls?.mode;
}

/** Plaintext is forbidden by STRICT alone: in ambient, DISABLE can do no more than PERMISSIVE. */
function isStrict(mode: MtlsMode | undefined, inherited: boolean): boolean {
  return mode === undefined || mode === 'UNSET' ? inherited : mode === 'STRICT';
}

function noPrincipal(): {
  notPrincipals: { matchType: { case: 'presence'; value: Record<string, never> } }[];
} {
  return { notPrincipals: [{ matchType: { case: 'presence', value: {} } }] };
}

/**
 * A denial of plaintext for all ports but the permissive ones, or only for the strict ones. Peer and port are two
 * clauses of one rule: as two rules they would be OR-ed, and the exception would deny instead (istio#53884).
 */
function convert(object: PeerAuthentication, strict: boolean, exceptions: readonly number[]): Authorization {
  const ports = create(
    MatchSchema,
    strict ? { notDestinationPorts: [...exceptions] } : { destinationPorts: [...exceptions] },
  );
  return create(AuthorizationSchema, {
    name: CONVERTED_PREFIX + object.metadata.name,
    namespace: namespaceOf(object),
    scope: Scope.WORKLOAD_SELECTOR,
    action: Action.DENY,
    rules: [
      create(RuleSchema, {
        clauses: [
          create(ClauseSchema, { matches: [create(MatchSchema, noPrincipal())] }),
          create(ClauseSchema, { matches: [ports] }),
        ],
      }),
    ],
  });
}

function describe({ strict, exceptions }: Effective, object: PeerAuthentication): string {
  const ports = exceptions.length === 0 ? '' : ` except on ports ${exceptions.join(', ')}`;
  const disable = [object.spec?.mtls, ...Object.values(object.spec?.portLevelMtls ?? {})].some(
    (m) => m?.mode === 'DISABLE',
  );
  const note = disable
    ? '; DISABLE is treated as PERMISSIVE: between pods of the mesh mutual TLS stays on'
    : '';
  return `${strict ? 'plaintext is denied' : 'plaintext is admitted'}${ports}${note}`;
}
