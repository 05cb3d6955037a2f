import {
  isPathTemplate,
  parsePathTemplate,
  type PathSegment,
  type TemplateProblem,
} from '../../../path-template.ts';
import { anyText, type TextTest } from './value-match.ts';

/**
 * Paths of an AuthorizationPolicy: templates, compared segment by segment, and Istio's value grammar for the others.
 * Unlike Envoy's URI templates the operators match every character but `/`: with a list of characters, a DENY would be
 * passed by one that is not in it.
 */
export function anyPath(patterns: readonly string[]): TextTest | TemplateProblem {
  const plain: string[] = [];
  const tests: TextTest[] = [];
  for (const pattern of patterns) {
    if (!isPathTemplate(pattern)) {
      plain.push(pattern);
      continue;
    }
    const segments = parsePathTemplate(pattern);
    if ('problem' in segments) return segments;
    tests.push((path) => templateMatches(segments, path.split('/')));
  }
  if (plain.length > 0) tests.push(anyText(plain));
  return (path) => tests.some((test) => test(path));
}

function templateMatches(template: readonly PathSegment[], path: readonly string[]): boolean {
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

function segmentsMatch(template: readonly PathSegment[], path: readonly string[]): boolean {
  return template.every((segment, i) => {
    const text = path[i] ?? '';
    return segment.kind === 'literal' ? segment.text === text : text !== '';
  });
}
