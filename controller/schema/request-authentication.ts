import { metadata, topLevel } from './core.ts';
import { OPAQUE, type Schema } from './dsl.ts';

/**
 * security.istio.io/v1 RequestAuthentication. Until its fields are read, ../sources/check-request-authentication.ts
 * refuses every object.
 */
export const REQUEST_AUTHENTICATION: Schema = topLevel(metadata('subdomain', true), {
  spec: { ...OPAQUE, type: ['object', 'null'] },
  status: OPAQUE,
});
