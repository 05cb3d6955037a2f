/**
 * Path templates of AuthorizationPolicy (Istio: Operation.paths), as the controller checks and a waypoint reads them:
 * `{*}` stands for one whole segment that is not empty, `{**}` for any number of segments, also none or empty ones, and is
 * the last operator. Neither `{`, `}` nor `*` stand elsewhere in a template.
 */
export type PathSegment =
  { readonly kind: 'literal'; readonly text: string } | { readonly kind: 'one' | 'rest' };

/** Why a path that is a template cannot be read as one. */
export interface TemplateProblem {
  readonly problem: string;
}

/** A path is a template when it has one of the two operators. */
export function isPathTemplate(path: string): boolean {
  return path.includes('{*}') || path.includes('{**}');
}

/** The segments of a template, of which the first is the empty one before the leading slash. */
export function parsePathTemplate(template: string): PathSegment[] | TemplateProblem {
  const bad = (why: string): TemplateProblem => ({
    problem: `path template ${JSON.stringify(template)} ${why}`,
  });
  if (!template.startsWith('/')) return bad('does not begin with "/"');
  const segments: PathSegment[] = [];
  for (const text of template.split('/')) {
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
