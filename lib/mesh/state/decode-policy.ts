import { fromBinary } from '@bufbuild/protobuf';
import { errorText } from '../../loam-error.ts';
import {
  AuthorizationSchema,
  type Address as WireCidr,
  type Authorization,
  type Clause as WireClause,
  type Match as WireMatch,
  type Rule as WireRule,
  type StringMatch as WireStringMatch,
} from '../../../proto/gen/istio/security/authorization_pb.js';
import { cidrFromBytes, type Cidr } from './ip.ts';
import type { Clause, Match, Policy, Rule, TextMatch } from './model.ts';
import { ResourceError, shown } from './resource-error.ts';
import { POLICY_ACTIONS, POLICY_SCOPES } from './wire-enums.ts';

const MAX_PORT = 65535;
const EMPTIED = 'it is empty: what it had cannot be seen at L4';

/** A policy, and what of it could not be understood. It is enforced all the same, in its fail-closed form. */
export interface DecodedPolicy {
  readonly policy: Policy;
  /** Values that are wrong; to be reported to the controller. What is merely newer than us is not among them. */
  readonly errors: readonly ResourceError[];
}

/**
 * Reads an `istio.security.Authorization` resource. What this node cannot understand (an emptied match, an unknown
 * field or extension, a broken value) marks its part of the policy as unsupported instead of vanishing from it, so that
 * a DENY never denies less and an ALLOW never allows more than its author meant (DESIGN §6).
 *
 * @param resourceName the name that xDS gave it; its content must agree
 * @throws ResourceError when it is no Authorization at all, or of another name
 */
export function decodePolicy(resourceName: string, bytes: Uint8Array): DecodedPolicy {
  let wire: Authorization;
  try {
    wire = fromBinary(AuthorizationSchema, bytes);
  } catch (error) {
    throw new ResourceError(
      resourceName,
      'resource',
      bytes,
      `istio.security.Authorization (${errorText(error)})`,
    );
  }
  const key = `${wire.namespace}/${wire.name}`;
  if (key !== resourceName) {
    throw new ResourceError(resourceName, 'namespace and name', key, "the resource's name");
  }
  const decoder = new PolicyDecoder(resourceName);
  return { policy: decoder.policy(wire), errors: decoder.errors };
}

/** A part of the message that may carry what this version does not know. */
interface Part {
  readonly $unknown?: readonly unknown[] | undefined;
  readonly extensions?: readonly { readonly name: string }[];
}

class PolicyDecoder {
  readonly errors: ResourceError[] = [];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  policy(wire: Authorization): Policy {
    // An action that is not known is taken for the strictest, and a scope for the widest.
    const action = POLICY_ACTIONS[wire.action];
    const scope = POLICY_SCOPES[wire.scope];
    const reasons = [unknownParts(wire)];
    if (!action) reasons.push(this.#wrong('action', wire.action, 'ALLOW or DENY'));
    if (!scope) reasons.push(this.#wrong('scope', wire.scope, 'GLOBAL, NAMESPACE or WORKLOAD_SELECTOR'));
    return {
      key: this.#name,
      namespace: wire.namespace,
      scope: scope ?? 'namespace',
      action: action ?? 'deny',
      dryRun: wire.dryRun,
      rules: wire.rules.map((rule, i) => this.#rule(`rules[${i}]`, rule)),
      ...unsupported(reasons),
    };
  }

  #rule(field: string, wire: WireRule): Rule {
    return {
      clauses: wire.clauses.map((clause, i) => this.#clause(`${field}.clauses[${i}]`, clause)),
      ...unsupported([unknownParts(wire)]),
    };
  }

  #clause(field: string, wire: WireClause): Clause {
    return {
      matches: wire.matches.map((match, i) => this.#match(`${field}.matches[${i}]`, match)),
      ...unsupported([unknownParts(wire), wire.matches.length === 0 ? EMPTIED : undefined]),
    };
  }

  #match(field: string, wire: WireMatch): Match {
    const reasons: (string | undefined)[] = [unknownParts(wire)];
    // One broken value drops its whole field, which then restricts nothing: the match as a whole is unsupported, so
    // that in a DENY this makes it wider, while dropping the value alone would make it narrower.
    const keep = <W, T>(
      part: string,
      values: readonly W[],
      read: (value: W) => T | undefined,
      allowed: string,
    ) => {
      const good: T[] = [];
      for (const [i, value] of values.entries()) {
        const one = read(value);
        if (one === undefined) {
          reasons.push(this.#wrong(`${field}.${part}[${i}]`, printable(value), allowed));
          return [];
        }
        good.push(one);
      }
      return good;
    };
    const texts = (part: string, values: readonly WireStringMatch[]) =>
      keep(part, values, textMatch, 'exact, prefix, suffix or presence');
    const cidrs = (part: string, values: readonly WireCidr[]) =>
      keep(part, values, cidr, 'an address and its length');
    const ports = (part: string, values: readonly number[]) => keep(part, values, port, `1 to ${MAX_PORT}`);
    const accounts = (part: string, values: readonly { namespace: string; serviceAccount: string }[]) =>
      keep(part, values, account, 'a namespace and a service account');
    const match = {
      namespaces: texts('namespaces', wire.namespaces),
      notNamespaces: texts('not_namespaces', wire.notNamespaces),
      principals: texts('principals', wire.principals),
      notPrincipals: texts('not_principals', wire.notPrincipals),
      sourceIps: cidrs('source_ips', wire.sourceIps),
      notSourceIps: cidrs('not_source_ips', wire.notSourceIps),
      destinationIps: cidrs('destination_ips', wire.destinationIps),
      notDestinationIps: cidrs('not_destination_ips', wire.notDestinationIps),
      destinationPorts: ports('destination_ports', wire.destinationPorts),
      notDestinationPorts: ports('not_destination_ports', wire.notDestinationPorts),
      serviceAccounts: accounts('service_accounts', wire.serviceAccounts),
      notServiceAccounts: accounts('not_service_accounts', wire.notServiceAccounts),
    };
    if (Object.values(match).every((values) => values.length === 0)) reasons.push(EMPTIED);
    return { ...match, ...unsupported(reasons) };
  }

  #wrong(field: string, value: unknown, allowed: string): string {
    const error = new ResourceError(this.#name, field, value, allowed);
    this.errors.push(error);
    return `${field} is ${shown(value)}`;
  }
}

function unknownParts(part: Part): string | undefined {
  if (part.$unknown?.length) return 'it has a field that this version does not know';
  const extension = part.extensions?.[0];
  return extension && `it has the extension ${shown(extension.name)} that this version does not know`;
}

function unsupported(reasons: readonly (string | undefined)[]): { unsupported?: string } {
  const reason = reasons.find((r) => r !== undefined);
  return reason === undefined ? {} : { unsupported: reason };
}

function textMatch(wire: WireStringMatch): TextMatch | undefined {
  // A later kind of match arrives as an unset oneof with an unknown field.
  if (wire.$unknown?.length) return undefined;
  const { case: how, value } = wire.matchType;
  switch (how) {
    case 'exact':
    case 'prefix':
    case 'suffix':
      return { how, text: value };
    case 'presence':
      return { how };
    case undefined:
      return undefined;
  }
}

function cidr(wire: WireCidr): Cidr | undefined {
  if (wire.$unknown?.length) return undefined;
  // A length left out reads as 0, which would make one address the whole Internet.
  if (wire.length === 0 && wire.address.some((byte) => byte !== 0)) return undefined;
  return cidrFromBytes(wire.address, wire.length);
}

function port(value: number): number | undefined {
  return value >= 1 && value <= MAX_PORT ? value : undefined;
}

function account(wire: {
  namespace: string;
  serviceAccount: string;
  $unknown?: readonly unknown[] | undefined;
}) {
  if (wire.$unknown?.length || wire.namespace === '' || wire.serviceAccount === '') return undefined;
  return { namespace: wire.namespace, serviceAccount: wire.serviceAccount };
}

function printable(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if ('address' in value && value.address instanceof Uint8Array && 'length' in value) {
    return `0x${Buffer.from(value.address).toString('hex')}/${String(value.length)}`;
  }
  return 'matchType' in value ? value.matchType : value;
}
