/** From wire resources to the model, one by one: a broken one is reported, the others apply. */
export { decodeAddress } from './decode-address.ts';
export { decodePolicy, type DecodedPolicy } from './decode-policy.ts';
export { ResourceError } from './resource-error.ts';
