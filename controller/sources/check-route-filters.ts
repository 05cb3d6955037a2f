import type {
  BackendRef,
  GrpcFilter,
  GrpcRule,
  HeaderFilter,
  HttpFilter,
  HttpRule,
  ObjectReference,
  PathModifier,
} from '../model/gateway-api.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';

type Filter = HttpFilter | GrpcFilter;

/** The field that belongs to each type. */
const FIELD_OF: Readonly<Record<HttpFilter['type'], string>> = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestMirror: 'requestMirror',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  CORS: 'cors',
};
/** Of one connection, or part of the message's framing: a changed one could smuggle a request (RFC 9110, 7.6.1). */
const FRAMING = [
  'connection',
  'content-length',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
const REWRITTEN_PATH = /^[\x21-\x7e]*$/;

/** All filters of a rule and of its backends. `prefixOnly`: each match of the rule is by path prefix. */
export function checkFilters(rule: HttpRule | GrpcRule, prefixOnly: boolean, path: Path): FieldProblem[] {
  const filters: readonly Filter[] = rule.filters ?? [];
  const backends: readonly BackendRef<Filter>[] = rule.backendRefs ?? [];
  const at = [...path, 'filters'];
  const found = checkList(filters, prefixOnly, at);
  const has = (type: Filter['type']): boolean => filters.some((filter) => filter.type === type);
  if (has('RequestRedirect') && has('URLRewrite'))
    found.push(problem(at, 'RequestRedirect and URLRewrite exclude each other'));
  if (has('RequestRedirect') && backends.length > 0)
    found.push(problem([...path, 'backendRefs'], 'a rule with RequestRedirect sends nothing to a backend'));
  backends.forEach((backend, i) => {
    found.push(...checkPort(backend, [...path, 'backendRefs', i]));
    const inBackend = [...path, 'backendRefs', i, 'filters'];
    found.push(...checkList(backend.filters ?? [], prefixOnly, inBackend));
    (backend.filters ?? []).forEach(({ type }, f) => {
      if (type === 'RequestRedirect' || type === 'CORS')
        found.push(
          problem([...inBackend, f, 'type'], `${type} is allowed only in the filters of the rule`, type),
        );
    });
  });
  return found;
}

/** A Service without a port is not a place to send to (CEL rule of the CRD). */
function checkPort({ group = '', kind = 'Service', port }: ObjectReference, path: Path): FieldProblem[] {
  return group === '' && kind === 'Service' && port === undefined
    ? [problem(path, 'port is missing: a Service needs one')]
    : [];
}

function checkList(filters: readonly Filter[], prefixOnly: boolean, path: Path): FieldProblem[] {
  return [
    // Several mirrors make sense; of everything else the standard allows one.
    ...duplicates(filters, ({ type }) => (type === 'RequestMirror' ? undefined : type), path, 'filter'),
    ...filters.flatMap((filter, i) => checkFilter(filter, prefixOnly, [...path, i])),
  ];
}

function checkFilter(filter: Filter, prefixOnly: boolean, path: Path): FieldProblem[] {
  const wanted = FIELD_OF[filter.type];
  const fields = Object.keys(filter).filter((key) => key !== 'type');
  if (!fields.includes(wanted)) return [problem(path, `${wanted} is missing, as the type is ${filter.type}`)];
  const other = fields.find((key) => key !== wanted);
  if (other !== undefined)
    return [problem([...path, other], `does not belong to a filter of type ${filter.type}`)];
  switch (filter.type) {
    case 'RequestHeaderModifier':
      return checkHeaders(filter.requestHeaderModifier, [...path, wanted]);
    case 'ResponseHeaderModifier':
      return checkHeaders(filter.responseHeaderModifier, [...path, wanted]);
    case 'RequestMirror': {
      const { percent, fraction } = filter.requestMirror;
      const at = [...path, wanted];
      const found = checkPort(filter.requestMirror.backendRef, [...at, 'backendRef']);
      if (percent !== undefined && fraction !== undefined)
        found.push(problem(at, 'only one of percent and fraction may be set'));
      if (fraction !== undefined && fraction.numerator > (fraction.denominator ?? 100))
        found.push(problem([...at, 'fraction'], 'the numerator is larger than the denominator'));
      return found;
    }
    case 'RequestRedirect':
      return checkPath(filter.requestRedirect.path, prefixOnly, [...path, wanted, 'path']);
    case 'URLRewrite':
      return checkPath(filter.urlRewrite.path, prefixOnly, [...path, wanted, 'path']);
    case 'CORS': {
      const { allowOrigins = [], allowMethods = [], allowHeaders = [] } = filter.cors;
      return Object.entries({ allowOrigins, allowMethods, allowHeaders }).flatMap(([field, values]) =>
        values.length > 1 && values.includes('*')
          ? [problem([...path, wanted, field], '"*" stands alone or not at all')]
          : [],
      );
    }
  }
}

function checkHeaders(filter: HeaderFilter, path: Path): FieldProblem[] {
  const lists = {
    set: (filter.set ?? []).map(({ name }) => name),
    add: (filter.add ?? []).map(({ name }) => name),
    remove: filter.remove ?? [],
  };
  return Object.entries(lists).flatMap(([list, names]) => [
    ...duplicates(names, (name) => name.toLowerCase(), [...path, list], 'header'),
    ...names.flatMap((name, i) => {
      const at = [...path, list, i, ...(list === 'remove' ? [] : ['name'])];
      const lower = name.toLowerCase();
      if (lower === 'host') return [notAllowed(at, name, 'the hostname of a URLRewrite filter')];
      return FRAMING.includes(lower) ? [notAllowed(at, name, `any but ${FRAMING.join(', ')}`)] : [];
    }),
  ]);
}

function checkPath(modifier: PathModifier | undefined, prefixOnly: boolean, path: Path): FieldProblem[] {
  if (modifier === undefined) return [];
  const isFull = modifier.type === 'ReplaceFullPath';
  const [wanted, other] = isFull
    ? (['replaceFullPath', 'replacePrefixMatch'] as const)
    : (['replacePrefixMatch', 'replaceFullPath'] as const);
  const fields = modifier as Partial<Record<typeof wanted, string>>;
  const value = fields[wanted];
  if (value === undefined) return [problem(path, `${wanted} is missing, as the type is ${modifier.type}`)];
  if (fields[other] !== undefined)
    return [problem([...path, other], `does not belong to the type ${modifier.type}`)];
  if (!REWRITTEN_PATH.test(value) || value.includes('#') || (value !== '' && !value.startsWith('/')))
    return [
      notAllowed([...path, wanted], value, 'a path of printable ASCII that begins with "/", without "#"'),
    ];
  if (!isFull && !prefixOnly)
    return [
      problem(
        [...path, 'type'],
        'a prefix can be replaced only where every match of the rule is of type PathPrefix',
        modifier.type,
        'ReplaceFullPath',
      ),
    ];
  return [];
}
