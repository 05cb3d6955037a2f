import { fromBinary } from '@bufbuild/protobuf';
import { errorText } from '../../loam-error.ts';
import {
  type Block as WireBlock,
  type Cidr as WireCidr,
  type PodTelemetry as WireTelemetry,
  type Policy as WirePolicy,
  type PortRange as WirePortRange,
  type Principal as WirePrincipal,
  type Resource,
  ResourceSchema,
  type Rule as WireRule,
  type Service as WireService,
  type ServiceAccount as WireAccount,
  UnknownDestinations,
  type Workload as WireWorkload,
} from '../../../proto/gen/loam/egress/v1/egress_pb.js';
import { cidrFromBytes, type Cidr } from '../state/ip.ts';
import type { ServiceAccountMatch, TextMatch } from '../state/model.ts';
import { ResourceError } from '../state/resource-error.ts';
import { decodeSide } from '../telemetry/decode.ts';
import type {
  Block,
  EgressPolicy,
  EgressResource,
  EgressRule,
  EgressWorkload,
  PodTelemetry,
  PortRange,
} from './model.ts';

const MAX_PORT = 65535;
const MAX_NAME_CHARS = 1024;
/** Far beyond what the controller's schema lets through: bounds what one connection may cost. */
const MAX_RULES = 1_000;
const MAX_VALUES = 1_000;
const NEWER = 'it has a field that this version does not know';

/**
 * Reads a `loam.egress.v1.Resource`. What is merely newer than this version marks its part as unsupported, and that part
 * then allows nothing; what is wrong is refused as a whole, so that the former state stays in force.
 *
 * @param resourceName the name that xDS gave it; its content must agree
 * @throws ResourceError
 */
export function decodeEgress(resourceName: string, bytes: Uint8Array): EgressResource {
  let wire: Resource;
  try {
    wire = fromBinary(ResourceSchema, bytes);
  } catch (error) {
    throw new ResourceError(resourceName, 'resource', bytes, `loam.egress.v1.Resource (${errorText(error)})`);
  }
  const decoder = new EgressDecoder(resourceName);
  switch (wire.kind.case) {
    case 'workload':
      return decoder.workload(wire.kind.value);
    case 'policy':
      return decoder.policy(wire.kind.value);
    case 'telemetry':
      return decoder.telemetry(wire.kind.value);
    case undefined:
      throw new ResourceError(resourceName, 'kind', 'unset', 'workload, policy or telemetry');
  }
}

/** A part of the message that may carry what this version does not know. */
interface Part {
  readonly $unknown?: readonly unknown[] | undefined;
}

class EgressDecoder {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  workload(wire: WireWorkload): EgressWorkload {
    this.#requireName(`workload/${wire.uid}`, 'uid');
    return {
      kind: 'workload',
      uid: this.#text('uid', wire.uid),
      policies: this.#each('policies', wire.policies, (field, name) => this.#text(field, name)),
      // What a later version may send beside these two is treated like the strictest.
      unknownDestinations: wire.unknownDestinations === UnknownDestinations.ALLOW ? 'allow' : 'refuse',
      ...newer(wire),
    };
  }

  telemetry({ uid, client, server }: WireTelemetry): PodTelemetry {
    this.#requireName(`telemetry/${uid}`, 'uid');
    return {
      kind: 'telemetry',
      uid: this.#text('uid', uid),
      client: client && decodeSide(client),
      server: server && decodeSide(server),
    };
  }

  policy(wire: WirePolicy): EgressPolicy {
    const key = `${wire.namespace}/${wire.name}`;
    this.#requireName(`policy/${key}`, 'namespace and name');
    if (wire.rules.length > MAX_RULES) this.#fail('rules', wire.rules.length, `at most ${MAX_RULES}`);
    const rules = wire.rules.map((rule, i) => this.#rule(`rules[${i}]`, rule));
    return { kind: 'policy', key, rules, ...newer(wire) };
  }

  #rule(field: string, wire: WireRule): EgressRule {
    const values = [wire.services, wire.serviceAccounts, wire.principals, wire.namespaces, wire.blocks];
    if (wire.ports.length === 0 && values.every((list) => list.length === 0) && !wire.$unknown?.length)
      this.#fail(field, 'empty', 'destinations or ports');
    const reasons: Part[] = [wire];
    const note = <T extends Part>(part: T): T => {
      reasons.push(part);
      return part;
    };
    const rule = {
      services: this.#each(`${field}.services`, wire.services, (at, value: WireService) =>
        this.#text(`${at}.key`, note(value).key),
      ),
      serviceAccounts: this.#each(`${field}.service_accounts`, wire.serviceAccounts, (at, value) =>
        this.#account(at, note(value)),
      ),
      principals: this.#each(`${field}.principals`, wire.principals, (at, value) =>
        // A later kind of match arrives as an unset oneof with an unknown field.
        note(value).$unknown?.length ? NOTHING : this.#principal(at, value),
      ),
      namespaces: this.#each(`${field}.namespaces`, wire.namespaces, (at, value) => this.#text(at, value)),
      blocks: this.#each(`${field}.blocks`, wire.blocks, (at, value) => this.#block(at, value, note)),
      ports: this.#each(`${field}.ports`, wire.ports, (at, value) => this.#ports(at, note(value))),
    };
    return { ...rule, ...newer(...reasons) };
  }

  #account(field: string, wire: WireAccount): ServiceAccountMatch {
    return {
      namespace: this.#text(`${field}.namespace`, wire.namespace),
      serviceAccount: this.#text(`${field}.name`, wire.name),
    };
  }

  #principal(field: string, wire: WirePrincipal): TextMatch {
    const { case: how, value } = wire.match;
    switch (how) {
      case 'exact':
      case 'prefix':
      case 'suffix':
        return { how, text: this.#text(`${field}.${how}`, value) };
      case 'any':
        return value ? { how: 'presence' } : this.#fail(`${field}.any`, value, 'true');
      case undefined:
        return this.#fail(`${field}.match`, 'unset', 'exact, prefix, suffix or any');
    }
  }

  #block(field: string, wire: WireBlock, note: (part: Part) => unknown): Block {
    note(wire);
    return {
      cidr: this.#cidr(`${field}.cidr`, wire.cidr, note),
      except: this.#each(`${field}.except`, wire.except, (at, value) => this.#cidr(at, value, note)),
    };
  }

  #cidr(field: string, wire: WireCidr | undefined, note: (part: Part) => unknown): Cidr {
    if (wire === undefined) return this.#fail(field, 'unset', 'an address and its length');
    note(wire);
    const { address, length } = wire;
    // A length left out reads as 0, which would make one address the whole Internet.
    const isCut = length === 0 && address.some((byte) => byte !== 0);
    const cidr = isCut ? undefined : cidrFromBytes(address, length);
    return cidr ?? this.#fail(field, `0x${Buffer.from(address).toString('hex')}/${length}`, 'a CIDR block');
  }

  #ports(field: string, { first, last }: WirePortRange): PortRange {
    if (first < 1 || last < first || last > MAX_PORT)
      this.#fail(field, `${first}-${last}`, `1 to ${MAX_PORT}, the first not above the last`);
    return { first, last };
  }

  #each<W, T>(field: string, values: readonly W[], read: (field: string, value: W) => T): T[] {
    if (values.length > MAX_VALUES) this.#fail(field, values.length, `at most ${MAX_VALUES}`);
    return values.map((value, i) => read(`${field}[${i}]`, value));
  }

  #text(field: string, text: string): string {
    if (text === '' || text.length > MAX_NAME_CHARS)
      this.#fail(field, text, `1 to ${MAX_NAME_CHARS} characters`);
    return text;
  }

  #requireName(name: string, field: string): void {
    if (name !== this.#name) this.#fail(field, name, "the resource's name");
  }

  #fail(field: string, value: unknown, allowed: string): never {
    throw new ResourceError(this.#name, field, value, allowed);
  }
}

/** Stands for a match of a later version; its rule is unsupported, and allows nothing. */
const NOTHING: TextMatch = { how: 'exact', text: '' };

function newer(...parts: readonly Part[]): { unsupported?: string } {
  return parts.some((part) => part.$unknown?.length) ? { unsupported: NEWER } : {};
}
