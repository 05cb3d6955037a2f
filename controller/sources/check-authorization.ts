import { isPathTemplate, parsePathTemplate } from '../../lib/path-template.ts';
import { conditionFormat, isL7Key, L4_KEYS, L7_KEYS } from '../compile/condition-keys.ts';
import type { AuthorizationPolicy, PolicyCondition, PolicyOperation } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { FORMATS } from '../schema/formats.ts';
import { type FieldProblem, show } from '../schema/validate.ts';
import { notAllowed, type Path, problem } from './check-helpers.ts';
import { checkAttachment } from './check-targets.ts';

const FORMAT = new Map(FORMATS.map((format) => [format.name, format]));
/** RFC 9110 section 9.1: a method is a token; here with a star at one end. */
const METHOD = /^(\*|\*?[A-Za-z0-9!#$%&'+.^_`|~-]+|[A-Za-z0-9!#$%&'+.^_`|~-]+\*)$/;
const PATH_ALLOWED =
  'an exact path that begins with "/", "*", "/prefix*", "*suffix", or a template with {*} and, last, {**} as whole segments';

export function checkAuthorization(policy: AuthorizationPolicy): FieldProblem[] {
  const found = checkAttachment(policy);
  (policy.spec?.rules ?? []).forEach((rule, r) => {
    (rule.when ?? []).forEach((condition, w) => {
      found.push(...checkCondition(condition, ['spec', 'rules', r, 'when', w]));
    });
    (rule.to ?? []).forEach(({ operation }, t) => {
      found.push(...checkOperation(operation, ['spec', 'rules', r, 'to', t, 'operation']));
    });
    (rule.from ?? []).forEach(({ source }, f) => {
      const named = source.serviceAccounts ?? source.notServiceAccounts;
      const other = [source.principals, source.notPrincipals, source.namespaces, source.notNamespaces];
      // Istio refuses this mixture, since both name the peer.
      if (named !== undefined && other.some((list) => list !== undefined)) {
        found.push(
          problem(
            ['spec', 'rules', r, 'from', f, 'source'],
            'serviceAccounts cannot be combined with principals or namespaces',
          ),
        );
      }
    });
  });
  return found;
}

function checkOperation(operation: PolicyOperation, path: Path): FieldProblem[] {
  const check = (
    fields: readonly (keyof PolicyOperation)[],
    wrong: (value: string) => string | undefined,
  ): FieldProblem[] =>
    fields.flatMap((field) =>
      (operation[field] ?? []).flatMap((value, i) => {
        const allowed = wrong(value);
        return allowed === undefined ? [] : [notAllowed([...path, field, i], value, allowed)];
      }),
    );
  return [
    ...check(['methods', 'notMethods'], (value) =>
      METHOD.test(value) ? undefined : 'a method (RFC 9110), "*", "prefix*" or "*suffix"',
    ),
    ...check(['hosts', 'notHosts'], (value) =>
      /[/?#@\\]/.test(value)
        ? 'a host, host:port, "*", "prefix*" or "*suffix", without scheme and path'
        : undefined,
    ),
    ...(['paths', 'notPaths'] as const).flatMap((field) =>
      (operation[field] ?? []).flatMap((value, i) => checkPath(value, [...path, field, i])),
    ),
  ];
}

/** A star in the middle would be compared as a star, which nobody means. */
function checkPath(value: string, path: Path): FieldProblem[] {
  if (isPathTemplate(value)) {
    const segments = parsePathTemplate(value);
    return 'problem' in segments ? [problem(path, segments.problem, value, PATH_ALLOWED)] : [];
  }
  const star = value.indexOf('*');
  const isPlaced = star < 0 || (star === value.lastIndexOf('*') && [0, value.length - 1].includes(star));
  // What follows "?" or "#" is not part of the path that is compared.
  if (isPlaced && /^[/*]/.test(value) && !/[?#\s]/.test(value)) return [];
  return [notAllowed(path, value, PATH_ALLOWED)];
}

function checkCondition(condition: PolicyCondition, path: Path): FieldProblem[] {
  if (condition.values === undefined && condition.notValues === undefined) {
    return [problem(path, 'values or notValues is missing')];
  }
  const formatName = conditionFormat(condition.key);
  if (formatName === undefined) {
    if (isL7Key(condition.key)) return [];
    const known = [...L4_KEYS.keys(), ...L7_KEYS].map((key) => (key.endsWith('[') ? `${key}NAME]` : key));
    const guess = didYouMean(condition.key, known);
    return [
      problem(
        [...path, 'key'],
        `unknown attribute ${show(condition.key)}${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
        condition.key,
        known.join(', '),
      ),
    ];
  }
  const format = FORMAT.get(formatName);
  return (['values', 'notValues'] as const).flatMap((field) =>
    (condition[field] ?? []).flatMap((value, i) =>
      format === undefined || format.check(value)
        ? []
        : [notAllowed([...path, field, i], value, format.allowed)],
    ),
  );
}
