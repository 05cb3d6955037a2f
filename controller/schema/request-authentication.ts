import { metadata, topLevel } from './core.ts';
import { BOOLEAN, list, OPAQUE, record, type Schema, text } from './dsl.ts';
import { optionalSpec, SELECTOR, TARGET_REF } from './security.ts';

const NAME: Schema = { type: 'string', minLength: 1, maxLength: 1024 };
const HEADER_NAME = text('header-name');

const JWT_RULE = record(
  {
    issuer: NAME,
    audiences: list(NAME, 1),
    jwksUri: NAME,
    jwks: { type: 'string', minLength: 1 },
    fromHeaders: list(record({ name: HEADER_NAME, prefix: { type: 'string', maxLength: 256 } }, ['name']), 1),
    fromParams: list(NAME, 1),
    fromCookies: list(NAME, 1),
    outputPayloadToHeader: HEADER_NAME,
    forwardOriginalToken: BOOLEAN,
    outputClaimToHeaders: list(record({ header: HEADER_NAME, claim: NAME }, ['header', 'claim']), 1),
    timeout: text('gateway-duration'),
  },
  ['issuer'],
);

/** security.istio.io/v1 RequestAuthentication. What a schema cannot say: ../sources/check-request-authentication.ts. */
export const REQUEST_AUTHENTICATION: Schema = topLevel(metadata('subdomain', true), {
  spec: optionalSpec(
    record({
      selector: SELECTOR,
      targetRef: TARGET_REF,
      targetRefs: list(TARGET_REF, 1),
      jwtRules: list(JWT_RULE),
    }),
  ),
  status: OPAQUE,
});
