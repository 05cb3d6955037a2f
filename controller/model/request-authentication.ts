import type { Base } from './meta.ts';
import type { Selector, TargetRef } from './objects.ts';

/** How the tokens of one issuer are found and verified. */
export interface JwtRule {
  readonly issuer: string;
  readonly audiences?: readonly string[];
  readonly jwksUri?: string;
  readonly jwks?: string;
  readonly fromHeaders?: readonly { readonly name: string; readonly prefix?: string }[];
  readonly fromParams?: readonly string[];
  readonly fromCookies?: readonly string[];
  readonly outputPayloadToHeader?: string;
  readonly forwardOriginalToken?: boolean;
  readonly outputClaimToHeaders?: readonly { readonly header: string; readonly claim: string }[];
  readonly timeout?: string;
}

/** security.istio.io/v1: which tokens requests may carry. */
export interface RequestAuthentication extends Base<'RequestAuthentication'> {
  readonly spec?: {
    readonly selector?: Selector;
    readonly targetRef?: TargetRef;
    readonly targetRefs?: readonly TargetRef[];
    readonly jwtRules?: readonly JwtRule[];
  } | null;
}
