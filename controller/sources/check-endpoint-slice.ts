import { familyOf } from '../../lib/ip-families.ts';
import type { EndpointSlice } from '../model/objects.ts';
import { FORMATS } from '../schema/formats.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { duplicates, notAllowed } from './check-helpers.ts';

const IP = FORMATS.find(({ name }) => name === 'ip');
const NAME = FORMATS.find(({ name }) => name === 'subdomain');

/** What a schema cannot say of a slice: addresses of its own type, and ports that can be told apart. */
export function checkEndpointSlice({
  addressType,
  endpoints = [],
  ports = [],
}: EndpointSlice): FieldProblem[] {
  const isRight = (address: string): boolean =>
    addressType === 'FQDN'
      ? NAME?.check(address) === true
      : IP?.check(address) === true && familyOf(address) === addressType;
  const allowed = addressType === 'FQDN' ? 'a DNS name' : `an ${addressType} address, as addressType says`;
  return [
    ...endpoints.flatMap(({ addresses }, i) =>
      addresses.flatMap((address, j) =>
        isRight(address) ? [] : [notAllowed(['endpoints', i, 'addresses', j], address, allowed)],
      ),
    ),
    ...duplicates(ports, ({ name = '' }) => name, ['ports'], 'port name'),
  ];
}
