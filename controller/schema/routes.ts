import { metadata, PORT, topLevel } from './core.ts';
import { BOOLEAN, list, OPAQUE, oneOf, record, type Schema, text } from './dsl.ts';

// Field names and bounds: Gateway API 1.4, standard channel, and of the experimental one retry (GEP-1731),
// sessionPersistence (GEP-1619), CORS (GEP-1767) and rule names. What is left out is refused by name; rules between
// fields are in ../sources/check-routes.ts.

const MAX_ITEMS = 16;
const MAX_PARENTS = 32;
const MAX_MATCHES = 64;
const MAX_CORS_ITEMS = 64;

function bounded(items: Schema, maxItems: number, minItems = 0): Schema {
  return { ...list(items, minItems), maxItems };
}

const KIND = { type: 'string', minLength: 1, maxLength: 63 };
const GROUP = { type: 'string', maxLength: 253 };
const SECTION_NAME = text('subdomain');
const PATH = { type: 'string', maxLength: 1024 };

const PARENT_REF = record(
  {
    group: GROUP,
    kind: KIND,
    namespace: text('dns-label'),
    name: text('subdomain'),
    sectionName: SECTION_NAME,
    port: PORT,
  },
  ['name'],
);

const OBJECT_REFERENCE = {
  group: GROUP,
  kind: KIND,
  namespace: text('dns-label'),
  name: text('subdomain'),
  port: PORT,
};

const HEADER = record({ name: text('header-name'), value: text('header-value') }, ['name', 'value']);

const HEADER_FILTER = record(
  {
    set: bounded(HEADER, MAX_ITEMS),
    add: bounded(HEADER, MAX_ITEMS),
    remove: bounded(text('header-name'), MAX_ITEMS),
  },
  [],
  { minProperties: 1 },
);

const MIRROR = record(
  {
    backendRef: record(OBJECT_REFERENCE, ['name']),
    percent: { type: 'integer', minimum: 0, maximum: 100 },
    fraction: record(
      { numerator: { type: 'integer', minimum: 0 }, denominator: { type: 'integer', minimum: 1 } },
      ['numerator'],
    ),
  },
  ['backendRef'],
);

const PATH_MODIFIER = record(
  { type: oneOf('ReplaceFullPath', 'ReplacePrefixMatch'), replaceFullPath: PATH, replacePrefixMatch: PATH },
  ['type'],
);

const REDIRECT = record({
  scheme: oneOf('http', 'https'),
  hostname: text('precise-hostname'),
  path: PATH_MODIFIER,
  port: PORT,
  statusCode: { type: 'integer', enum: [301, 302, 303, 307, 308] },
});

const REWRITE = record({ hostname: text('precise-hostname'), path: PATH_MODIFIER }, [], { minProperties: 1 });

const CORS = record({
  allowOrigins: bounded(text('cors-origin'), MAX_CORS_ITEMS),
  allowCredentials: BOOLEAN,
  allowMethods: bounded(
    oneOf('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', '*'),
    9,
  ),
  allowHeaders: bounded(text('header-name-or-star'), MAX_CORS_ITEMS),
  exposeHeaders: bounded(text('header-name-or-star'), MAX_CORS_ITEMS),
  maxAge: { type: 'integer', minimum: 1, maximum: 2_147_483_647 },
});

const GRPC_FILTER_FIELDS = {
  requestHeaderModifier: HEADER_FILTER,
  responseHeaderModifier: HEADER_FILTER,
  requestMirror: MIRROR,
};
const GRPC_FILTER = record(
  { type: oneOf('RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror'), ...GRPC_FILTER_FIELDS },
  ['type'],
);
const HTTP_FILTER = record(
  {
    type: oneOf(
      'RequestHeaderModifier',
      'ResponseHeaderModifier',
      'RequestMirror',
      'RequestRedirect',
      'URLRewrite',
      'CORS',
    ),
    ...GRPC_FILTER_FIELDS,
    requestRedirect: REDIRECT,
    urlRewrite: REWRITE,
    cors: CORS,
  },
  ['type'],
);

function backendRefs(filter: Schema): Schema {
  return bounded(
    record(
      {
        ...OBJECT_REFERENCE,
        weight: { type: 'integer', minimum: 0, maximum: 1_000_000 },
        filters: bounded(filter, MAX_ITEMS),
      },
      ['name'],
    ),
    MAX_ITEMS,
  );
}

const MATCH_TYPE = oneOf('Exact', 'RegularExpression');

function namedMatches(maxValue: number): Schema {
  return bounded(
    record(
      {
        type: MATCH_TYPE,
        name: text('header-name'),
        value: { type: 'string', minLength: 1, maxLength: maxValue },
      },
      ['name', 'value'],
    ),
    MAX_ITEMS,
  );
}

const HTTP_MATCH = record({
  path: record({ type: oneOf('Exact', 'PathPrefix', 'RegularExpression'), value: PATH }),
  headers: namedMatches(4096),
  queryParams: namedMatches(1024),
  method: oneOf('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'),
});

const DURATION = text('gateway-duration');

const SESSION_PERSISTENCE = record({
  sessionName: { type: 'string', maxLength: 128, format: 'header-name' },
  absoluteTimeout: DURATION,
  idleTimeout: DURATION,
  type: oneOf('Cookie', 'Header'),
  cookieConfig: record({ lifetimeType: oneOf('Permanent', 'Session') }),
});

const HTTP_RULE = record({
  name: SECTION_NAME,
  matches: bounded(HTTP_MATCH, MAX_MATCHES),
  filters: bounded(HTTP_FILTER, MAX_ITEMS),
  backendRefs: backendRefs(HTTP_FILTER),
  timeouts: record({ request: DURATION, backendRequest: DURATION }),
  retry: record({
    codes: list({ type: 'integer', minimum: 400, maximum: 599 }),
    attempts: { type: 'integer', minimum: 0, maximum: 100 },
    backoff: DURATION,
  }),
  sessionPersistence: SESSION_PERSISTENCE,
});

const GRPC_NAME = { type: 'string', maxLength: 1024 };

const GRPC_RULE = record({
  name: SECTION_NAME,
  matches: bounded(
    record({
      method: record({ type: MATCH_TYPE, service: GRPC_NAME, method: GRPC_NAME }),
      headers: namedMatches(4096),
    }),
    MAX_MATCHES,
  ),
  filters: bounded(GRPC_FILTER, MAX_ITEMS),
  backendRefs: backendRefs(GRPC_FILTER),
  sessionPersistence: SESSION_PERSISTENCE,
});

function route(rule: Schema): Schema {
  return topLevel(
    metadata('subdomain', true),
    {
      spec: record({
        parentRefs: bounded(PARENT_REF, MAX_PARENTS),
        hostnames: bounded(text('route-hostname'), MAX_ITEMS),
        rules: bounded(rule, MAX_ITEMS, 1),
      }),
      status: OPAQUE,
    },
    ['spec'],
  );
}

export const HTTP_ROUTE: Schema = route(HTTP_RULE);
export const GRPC_ROUTE: Schema = route(GRPC_RULE);
