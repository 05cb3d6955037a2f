import type { Base } from './meta.ts';

export const GATEWAY_GROUP = 'gateway.networking.k8s.io';
/** The class of the Gateways that are waypoints. */
export const WAYPOINT_CLASS = 'loam-waypoint';
/** The controller's name in a GatewayClass. */
export const WAYPOINT_CONTROLLER = 'loam.dev/waypoint';
/** The label by which the pods of a Gateway are known (Gateway API, GEP-1762). */
export const GATEWAY_NAME_LABEL = 'gateway.networking.k8s.io/gateway-name';

export interface Gateway extends Base<'Gateway'> {
  readonly spec: {
    readonly gatewayClassName: string;
    readonly listeners: readonly {
      readonly name: string;
      readonly port: number;
      readonly protocol: string;
      readonly allowedRoutes?: {
        readonly namespaces?: { readonly from?: 'All' | 'Same' | 'Selector' | 'None' };
        readonly kinds?: readonly { readonly kind: string }[];
      };
    }[];
  };
}

export interface GatewayClass extends Base<'GatewayClass'> {
  readonly spec: { readonly controllerName: string };
}

export interface ParentRef {
  readonly group?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name: string;
  readonly sectionName?: string;
  readonly port?: number;
}

export interface ObjectReference {
  readonly group?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name: string;
  readonly port?: number;
}

export interface BackendRef<F> extends ObjectReference {
  readonly weight?: number;
  readonly filters?: readonly F[];
}

export interface HttpHeader {
  readonly name: string;
  readonly value: string;
}

export interface HeaderFilter {
  readonly set?: readonly HttpHeader[];
  readonly add?: readonly HttpHeader[];
  readonly remove?: readonly string[];
}

export type PathModifier =
  | { readonly type: 'ReplaceFullPath'; readonly replaceFullPath: string }
  | { readonly type: 'ReplacePrefixMatch'; readonly replacePrefixMatch: string };

export interface RequestMirror {
  readonly backendRef: ObjectReference;
  readonly percent?: number;
  readonly fraction?: { readonly numerator: number; readonly denominator?: number };
}

export interface RequestRedirect {
  readonly scheme?: 'http' | 'https';
  readonly hostname?: string;
  readonly path?: PathModifier;
  readonly port?: number;
  readonly statusCode?: number;
}

export interface UrlRewrite {
  readonly hostname?: string;
  readonly path?: PathModifier;
}

/** GEP-1767. */
export interface CorsFilter {
  readonly allowOrigins?: readonly string[];
  readonly allowCredentials?: boolean;
  readonly allowMethods?: readonly string[];
  readonly allowHeaders?: readonly string[];
  readonly exposeHeaders?: readonly string[];
  readonly maxAge?: number;
}

export type GrpcFilter =
  | { readonly type: 'RequestHeaderModifier'; readonly requestHeaderModifier: HeaderFilter }
  | { readonly type: 'ResponseHeaderModifier'; readonly responseHeaderModifier: HeaderFilter }
  | { readonly type: 'RequestMirror'; readonly requestMirror: RequestMirror };

export type HttpFilter =
  | GrpcFilter
  | { readonly type: 'RequestRedirect'; readonly requestRedirect: RequestRedirect }
  | { readonly type: 'URLRewrite'; readonly urlRewrite: UrlRewrite }
  | { readonly type: 'CORS'; readonly cors: CorsFilter };

export interface HttpPathMatch {
  readonly type?: 'Exact' | 'PathPrefix' | 'RegularExpression';
  readonly value?: string;
}

/** A header or a query parameter. */
export interface NamedMatch {
  readonly type?: 'Exact' | 'RegularExpression';
  readonly name: string;
  readonly value: string;
}

export interface HttpMatch {
  readonly path?: HttpPathMatch;
  readonly headers?: readonly NamedMatch[];
  readonly queryParams?: readonly NamedMatch[];
  readonly method?: string;
}

/** GEP-1731. */
export interface RouteRetry {
  readonly codes?: readonly number[];
  readonly attempts?: number;
  readonly backoff?: string;
}

/** GEP-1619. */
export interface RouteSessionPersistence {
  readonly sessionName?: string;
  readonly absoluteTimeout?: string;
  readonly idleTimeout?: string;
  readonly type?: 'Cookie' | 'Header';
  readonly cookieConfig?: { readonly lifetimeType?: 'Permanent' | 'Session' };
}

export interface HttpRule {
  readonly name?: string;
  readonly matches?: readonly HttpMatch[];
  readonly filters?: readonly HttpFilter[];
  readonly backendRefs?: readonly BackendRef<HttpFilter>[];
  readonly timeouts?: { readonly request?: string; readonly backendRequest?: string };
  readonly retry?: RouteRetry;
  readonly sessionPersistence?: RouteSessionPersistence;
}

export interface HTTPRoute extends Base<'HTTPRoute'> {
  readonly spec: {
    readonly parentRefs?: readonly ParentRef[];
    readonly hostnames?: readonly string[];
    readonly rules?: readonly HttpRule[];
  };
}

export interface GrpcMethodMatch {
  readonly type?: 'Exact' | 'RegularExpression';
  readonly service?: string;
  readonly method?: string;
}

export interface GrpcMatch {
  readonly method?: GrpcMethodMatch;
  readonly headers?: readonly NamedMatch[];
}

export interface GrpcRule {
  readonly name?: string;
  readonly matches?: readonly GrpcMatch[];
  readonly filters?: readonly GrpcFilter[];
  readonly backendRefs?: readonly BackendRef<GrpcFilter>[];
  readonly sessionPersistence?: RouteSessionPersistence;
}

export interface GRPCRoute extends Base<'GRPCRoute'> {
  readonly spec: {
    readonly parentRefs?: readonly ParentRef[];
    readonly hostnames?: readonly string[];
    readonly rules?: readonly GrpcRule[];
  };
}

export interface ReferenceGrant extends Base<'ReferenceGrant'> {
  readonly spec: {
    readonly from: readonly { readonly group: string; readonly kind: string; readonly namespace: string }[];
    readonly to: readonly { readonly group: string; readonly kind: string; readonly name?: string }[];
  };
}
