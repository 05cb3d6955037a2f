import { GATEWAY_GROUP } from '../model/gateway-api.ts';
import { MESH_SETTINGS_NAME } from '../model/egress-policy.ts';
import type { Kind, KubeObject } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { SCHEMAS } from '../schema/schemas.ts';
import { asKubeObject, validateSchema } from '../schema/validate.ts';
import { checkObject } from './checks.ts';

/** What is in force in place of a broken manifest that was never right. */
export interface StandIn {
  readonly object: KubeObject;
  /** What it does, for the status: `in force in its place … is one that allows nothing`. */
  readonly effect: string;
}

const OWN_GROUP = 'loam.dev/';
const SECURITY_GROUP = 'security.istio.io/';
/** Groups of what a policy can be attached to in this mesh. */
const OUR_TARGETS = ['', 'core', GATEWAY_GROUP];
const ALLOWS_NOTHING = 'in force in its place, until it is right, is one that allows nothing';
const DENIES_ALL = 'in force in its place, until it is right, is one that denies everything';
/** Matches whatever is asked. */
const DENY_ALL = { action: 'DENY', rules: [{}] };

/**
 * The strictest object that a broken manifest may have meant, for the kinds that restrict what pods may call or who may call
 * them: passed over, it would leave everything open. An EgressPolicy then allows nothing to the pods of its selector, or where that
 * is broken itself, of its namespace; MeshSettings then refuse what the mesh does not know. Undefined for other kinds, and
 * where not even the name can be read.
 *
 * An AuthorizationPolicy allows nothing, or denies everything where it may have been one that denies, and a PeerAuthentication takes
 * mutual TLS alone: who has written one believes it in force (docs/decisions/0050, 0120).
 *
 * @param data the manifest as read, nothing of it known to be right
 */
export function standInFor(kind: Kind, data: Readonly<Record<string, unknown>>): StandIn | undefined {
  const { apiVersion: given, metadata, spec } = data;
  if (typeof given !== 'string' || !isRecord(metadata)) return undefined;
  const [apiVersion] = SCHEMAS[kind].apiVersions;
  const { name, namespace } = metadata;
  const meta = namespace === undefined || namespace === null ? { name } : { name, namespace };
  const selector = isRecord(spec) ? spec['selector'] : undefined;
  const selected = selector === undefined ? [] : [{ selector }];
  const candidates = (effect: string, specs: readonly object[]): StandIn | undefined =>
    first(
      effect,
      specs.map((each) => ({ apiVersion, kind, metadata: meta, spec: each })),
    );
  if (given.startsWith(OWN_GROUP)) {
    if (kind === 'EgressPolicy')
      return candidates(
        ALLOWS_NOTHING,
        [...selected, {}].map((each) => ({ ...each, allow: [] })),
      );
    if (kind !== 'MeshSettings' || name !== MESH_SETTINGS_NAME) return undefined;
    // What is broken about where telemetry goes closes nothing, where all the rest is right.
    if (isRecord(spec) && spec['telemetryProviders'] !== undefined) {
      const rest = Object.fromEntries(Object.entries(spec).filter(([key]) => key !== 'telemetryProviders'));
      const spared = first('in force in its place, until it is right, is the same without providers', [
        { apiVersion, kind, metadata: { name }, spec: rest },
      ]);
      if (spared !== undefined) return spared;
    }
    return first('in force in its place, until it is right, is that unknown destinations are refused', [
      { apiVersion, kind, metadata: { name }, spec: { outboundTrafficPolicy: 'REGISTRY_ONLY' } },
    ]);
  }
  if (!given.startsWith(SECURITY_GROUP)) return undefined;
  if (kind === 'PeerAuthentication')
    return candidates(
      'in force in its place, until it is right, is one that takes mutual TLS alone',
      [...selected, {}].map((each) => ({ ...each, mtls: { mode: 'STRICT' } })),
    );
  if (kind !== 'AuthorizationPolicy') return undefined;
  const written = isRecord(spec) ? spec : {};
  const places = attachments(written);
  if (mayHaveDenied(data))
    return candidates(
      DENIES_ALL,
      places.map((place) => ({ ...place, ...DENY_ALL })),
    );
  return candidates(ALLOWS_NOTHING, places);
}

/**
 * Whether a broken AuthorizationPolicy may have been one that denies. One that allows nothing in its place would deny nothing where
 * another policy allows.
 */
function mayHaveDenied({ metadata: _, spec = {}, ...beside }: Readonly<Record<string, unknown>>): boolean {
  if (spec !== null && !isRecord(spec)) return true;
  const action = spec?.['action'];
  if (typeof action === 'string') return didYouMean(action, ['DENY', 'CUSTOM', 'ALLOW']) !== 'ALLOW';
  if (action !== undefined && action !== null) return true;
  // The misspelt word may be `action` or `spec`.
  const words = [spec ?? {}, beside, ...Object.values(beside).filter(isRecord)].flatMap((each) =>
    Object.values(each),
  );
  return words.some((word) => typeof word === 'string' && /^(deny|custom)$/i.test(word.trim()));
}

/** Where a broken AuthorizationPolicy may have been meant to hold, the narrowest place first; none where it restricts nothing. */
function attachments(spec: Readonly<Record<string, unknown>>): object[] {
  const { action, selector, targetRef, targetRefs } = spec;
  if (action === 'AUDIT') return [];
  const targets = [targetRef ?? [], targetRefs ?? []].flat();
  if (targets.length === 0) return [...(selector === undefined ? [] : [{ selector }]), {}];
  if (selector !== undefined) return [{}];
  // What is attached to something of another mesh or gateway is theirs to enforce.
  const known = targets.filter((target) => !isForeign(target));
  if (known.length === 0) return [];
  return [{ targetRefs: known }, {}];
}

function isForeign(target: unknown): boolean {
  if (!isRecord(target)) return false;
  const { group = '', kind, name } = target;
  if (typeof group !== 'string' || typeof kind !== 'string' || typeof name !== 'string') return false;
  return !OUR_TARGETS.includes(group);
}

/** The first candidate that is right. */
function first(effect: string, candidates: readonly object[]): StandIn | undefined {
  for (const candidate of candidates) {
    const object = asKubeObject(candidate);
    if (validateSchema(object.kind, candidate).length === 0 && checkObject(object).length === 0)
      return { object, effect };
  }
  return undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
