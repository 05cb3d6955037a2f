import { anyText, type TextTest } from './value-match.ts';

/** A path that is a template and cannot be read as one. */
export interface TemplateProblem {
  readonly problem: string;
}

type Segment = { readonly kind: 'literal'; readonly text: string } | { readonly kind: 'one' | 'rest' };

/** Istio: a path is a template when it has one of its two operators. */
export function isPathTemplate(path: string): boolean {
  return path.includes('{*}') || path.includes('{**}');
}

/**
 * Paths of an AuthorizationPolicy: templates, and Istio's value grammar for the others.
 *
 * A template is compared segment by segment (Istio: AuthorizationPolicy, Operation.paths): `{*}` stands for one whole
 * segment that is not empty, `{**}` for any number of segments, also none or empty ones, and is the last operator.
 * Neither `{`, `}` nor `*` stand elsewhere in a template. Unlike Envoy's URI templates the operators match every
 * character but `/`: with a list of characters, a DENY would be passed by one that is not in it.
 */
export function anyPath(patterns: readonly string[]): TextTest | TemplateProblem {
  const plain: string[] = [];
  const tests: TextTest[] = [];
  for (const pattern of patterns) {
    if (!isPathTemplate(pattern)) {
      plain.push(pattern);
      continue;
    }
    const segments = parseTemplate(pattern);
    if ('problem' in segments) return segments;
    tests.push((path) => templateMatches(segments, path.split('/')));
  }
  if (plain.length > 0) tests.push(anyText(plain));
  return (path) => tests.some((test) => test(path));
}

function parseTemplate(template: string): Segment[] | TemplateProblem {
  const bad = (why: string): TemplateProblem => ({
    problem: `path template ${JSON.stringify(template)} ${why}`,
  });
  if (!template.startsWith('/')) return bad('does not begin with "/"');
  const segments: Segment[] = [];
  for (const text of template.split('/')) {
    if (segments.at(-1)?.kind === 'rest' && text === '{**}') return bad('has "{**}" twice');
    if (text === '{*}' || text === '{**}') {
      if (segments.some(({ kind }) => kind === 'rest')) return bad('has an operator after "{**}"');
      segments.push({ kind: text === '{*}' ? 'one' : 'rest' });
    } else if (/[{}*]/.test(text)) {
      return bad('has "{", "}" or "*" beside an operator that is a whole segment');
    } else {
      segments.push({ kind: 'literal', text });
    }
  }
  return segments;
}

function templateMatches(template: readonly Segment[], path: readonly string[]): boolean {
  const rest = template.findIndex(({ kind }) => kind === 'rest');
  if (rest < 0) return path.length === template.length && segmentsMatch(template, path);
  const before = template.slice(0, rest);
  const after = template.slice(rest + 1);
  // "/a/{**}" takes "/a/": what is behind the slash may be empty, but the slash must be there.
  if (path.length < before.length + after.length + 1) return false;
  return (
    segmentsMatch(before, path.slice(0, before.length)) &&
    segmentsMatch(after, path.slice(path.length - after.length))
  );
}

function segmentsMatch(template: readonly Segment[], path: readonly string[]): boolean {
  return template.every((segment, i) => {
    const text = path[i] ?? '';
    return segment.kind === 'literal' ? segment.text === text : text !== '';
  });
}
