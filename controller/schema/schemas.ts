import type { Kind } from '../model/objects.ts';
import { NAMESPACE, SERVICE, SERVICE_ACCOUNT } from './core.ts';
import type { Schema } from './dsl.ts';
import { POD } from './pod.ts';
import { AUTHORIZATION_POLICY, PEER_AUTHENTICATION } from './security.ts';

const CORE = ['v1'];
const SECURITY = ['security.istio.io/v1', 'security.istio.io/v1beta1'];

/** The schema of each kind and the apiVersions under which it may come. */
export const SCHEMAS: Readonly<
  Record<Kind, { readonly apiVersions: readonly string[]; readonly schema: Schema }>
> = {
  Namespace: { apiVersions: CORE, schema: NAMESPACE },
  ServiceAccount: { apiVersions: CORE, schema: SERVICE_ACCOUNT },
  Service: { apiVersions: CORE, schema: SERVICE },
  Pod: { apiVersions: CORE, schema: POD },
  AuthorizationPolicy: { apiVersions: SECURITY, schema: AUTHORIZATION_POLICY },
  PeerAuthentication: { apiVersions: SECURITY, schema: PEER_AUTHENTICATION },
};
