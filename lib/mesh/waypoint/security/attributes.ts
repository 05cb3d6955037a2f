import type { JwtFacts, RequestHead } from '../request.ts';
import { claimTexts } from './claims.ts';
import { anyPath } from './path-template.ts';
import {
  type MakeTest,
  ofAddress,
  ofPort,
  ofRequest,
  ofText,
  type Reading,
  UnsupportedError,
} from './predicate.ts';
import { anyHost, anyText, type TextTest } from './value-match.ts';

/** The attributes of AuthorizationPolicy, each as a maker of tests. Source: Istio's authorization policy conditions. */

export const principals = ofText((subject) => subject.principal);
export const namespaces = ofText((subject) => subject.source.identity?.namespace);
export const sourceIp = ofAddress((subject) => subject.sourceIp);
export const remoteIp = ofAddress((subject) => subject.remoteIp);
export const destinationIp = ofAddress((subject) => subject.destinationIp);
export const ports: MakeTest = ofPort;

/** `namespace/account`, or an account of the policy's own namespace. Without wildcards, as in Istio. */
export function serviceAccounts(home: string): MakeTest {
  return (values) => {
    const wanted = new Set(values.map((value) => (value.includes('/') ? value : `${home}/${value}`)));
    return ({ source: { identity } }) =>
      identity !== undefined && wanted.has(`${identity.namespace}/${identity.serviceAccount}`);
  };
}

export const hosts = ofRequest((values) => {
  const test = anyHost(values);
  return (head) => test(head.authority);
});

/**
 * Methods are case-sensitive (RFC 9110 section 9.1), but there are servers that take `post` for POST: a denial holds
 * for both.
 */
export const methods = ofRequest((values, reading) => {
  const test = anyText(values, reading === 'wide');
  return (head) => test(head.method);
});

export const paths = ofRequest((values) => {
  const test = anyPath(values);
  if (typeof test !== 'function') throw new UnsupportedError(test.problem);
  return (head) => test(head.path);
});

/**
 * `issuer/subject`. A subject that has a slash can read like one of another issuer (`https://a` and `b/c`, `https://a/b`
 * and `c`): narrowly read it is matched by `*` alone; `request.auth.claims[sub]` names it without doubt.
 */
export const requestPrincipals = ofRequest((values, reading) => {
  const test = anyText(values);
  const any = values.includes('*');
  return ({ jwt }) => {
    if (jwt === undefined || jwt.principal === '') return false;
    const subject = jwt.claims['sub'];
    if (reading === 'narrow' && typeof subject === 'string' && subject.includes('/')) return any;
    return test(jwt.principal);
  };
});

export const audiences = ofToken(({ audiences: list }) => list);
export const presenter = ofToken((jwt) => (jwt.presenter === undefined ? [] : [jwt.presenter]));

/** @param path names of nested claims, outermost first */
export function claim(path: readonly string[]): MakeTest {
  return ofToken((jwt) => claimTexts(jwt.claims, path));
}

function ofToken(read: (jwt: JwtFacts) => readonly string[]): MakeTest {
  return ofRequest((values) => {
    const test = anyText(values);
    return ({ jwt }) => jwt !== undefined && read(jwt).some(test);
  });
}

/** The server name of a TLS handshake: no request through a waypoint has one, and that of opaque TLS is not read. */
export const serverName = ofRequest(() => () => false);

/**
 * A header. Several lines of one name arrive as one text joined by commas, and an application may look at the first, the
 * last or each of them. Widely read, a value matches when it matches the joined text, with or without a space behind
 * the commas, or any one of its elements; narrowly, only the text as a whole. So neither a denied value nor an excluded
 * one is hidden by sending the header twice, and an allowed one does not admit another beside it. `*` asks only that the
 * header is there.
 */
export function header(name: string): MakeTest {
  const read = headerReader(name.toLowerCase());
  return ofRequest((values, reading) => {
    const present = values.includes('*');
    const test = anyText(values);
    return (head) => {
      const value = read(head);
      if (value === undefined) return false;
      return present || headerMatches(value, test, reading);
    };
  });
}

function headerMatches(value: string, test: TextTest, reading: Reading): boolean {
  if (test(value)) return true;
  if (reading === 'narrow' || !value.includes(',')) return false;
  const elements = value.split(',').map((element) => element.trim());
  return elements.some(test) || test(elements.join(','));
}

/** Pseudo headers are attributes of the head. */
function headerReader(name: string): (head: RequestHead) => string | undefined {
  switch (name) {
    case 'host':
    case ':authority':
      return (head) => head.authority;
    case ':method':
      return (head) => head.method;
    case ':path':
      return (head) => (head.query === '' ? head.path : `${head.path}?${head.query}`);
    default:
      if (name === '' || name.startsWith(':'))
        throw new UnsupportedError(`header ${JSON.stringify(name)} cannot be seen`);
      return ({ headers }) => {
        const value = headers[name];
        return typeof value === 'object' ? value.join(',') : value;
      };
  }
}
