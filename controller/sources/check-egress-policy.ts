import { type Block, blockOf } from '../compile/addresses.ts';
import type { EgressCidr, EgressPolicy, EgressPort } from '../model/egress-policy.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { notAllowed, type Path } from './check-helpers.ts';

const MAX_PORT = 65535;

/** What a schema cannot say of an EgressPolicy: ranges that run backwards, and exceptions from what is not there. */
export function checkEgressPolicy(policy: EgressPolicy): FieldProblem[] {
  return (policy.spec.allow ?? []).flatMap(({ cidrs = [], ports = [] }, r) => [
    ...cidrs.flatMap((each, i) => checkCidr(each, ['spec', 'allow', r, 'cidrs', i])),
    ...ports.flatMap((each, i) => checkPorts(each, ['spec', 'allow', r, 'ports', i])),
  ]);
}

function checkCidr({ cidr, except = [] }: EgressCidr, path: Path): FieldProblem[] {
  const whole = blockOf(cidr);
  return except.flatMap((part, i) =>
    isWithin(blockOf(part), whole)
      ? []
      : [notAllowed([...path, 'except', i], part, `an address or CIDR block inside ${cidr}`)],
  );
}

function isWithin(part: Block, whole: Block): boolean {
  if (part.address.length !== whole.address.length || part.length < whole.length) return false;
  return whole.address.every((byte, i) => {
    const bits = Math.min(8, Math.max(0, whole.length - i * 8));
    return ((part.address[i] ?? 0) & (0xff << (8 - bits)) & 0xff) === byte;
  });
}

function checkPorts({ port, endPort }: EgressPort, path: Path): FieldProblem[] {
  if (endPort === undefined || endPort >= port) return [];
  return [notAllowed([...path, 'endPort'], endPort, `a port from ${port} to ${MAX_PORT}`)];
}
