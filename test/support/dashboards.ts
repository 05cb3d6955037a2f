import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { packageRoot } from '../../lib/package-root.ts';

export const MONITORING = join(packageRoot(), 'deploy', 'monitoring');

/** A query of a dashboard or a rule, with where it stands. */
export interface NamedQuery {
  readonly where: string;
  readonly expr: string;
  /** Whether exemplars are asked for by it too. */
  readonly exemplar?: boolean;
}

/** The part of Grafana's JSON that is looked at. */
export interface GrafanaDashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly {
    readonly title: string;
    readonly type: string;
    readonly targets?: readonly { readonly expr: string; readonly exemplar?: boolean }[];
  }[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly definition?: string }[];
  };
}

export function yamlFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .sort()
    .map((file) => join(folder, file));
}

/** The dashboards that are committed, by the name of their file without `.json`. */
export function committedDashboards(): Record<string, GrafanaDashboard> {
  const folder = join(MONITORING, 'grafana');
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
  return Object.fromEntries(
    files.map((file) => [
      file.slice(0, -'.json'.length),
      JSON.parse(readFileSync(join(folder, file), 'utf8')) as GrafanaDashboard,
    ]),
  );
}

/** Every query of every panel, as Grafana wrote it: with variables. */
export function panelQueries(): NamedQuery[] {
  return Object.entries(committedDashboards()).flatMap(([name, { panels }]) =>
    panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr, exemplar = false }) => ({ where: `${name}: ${title}`, expr, exemplar })),
    ),
  );
}

/** Every query of a variable: `label_values(selector, label)` counts by that label. */
export function variableQueries(): NamedQuery[] {
  return Object.entries(committedDashboards()).flatMap(([name, { templating }]) =>
    templating.list.flatMap(({ name: variable, definition }) => {
      if (definition === undefined) return [];
      const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec(definition) ?? [];
      if (selector === undefined || label === undefined) throw new Error(`${name}: ${definition}`);
      return [{ where: `${name}: $${variable}`, expr: `count by (${label}) (${selector})` }];
    }),
  );
}

export interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export function rules(): Rule[] {
  return yamlFiles(join(MONITORING, 'rules')).flatMap((file) =>
    (parse(readFileSync(file, 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
      (group) => group.rules,
    ),
  );
}

export function ruleQueries(): NamedQuery[] {
  return rules().map(({ alert, record, expr }) => ({ where: alert ?? record ?? '', expr }));
}

/** The query with Grafana's variables replaced. */
export function filledIn(expr: string, values: Readonly<Record<string, string>>): string {
  return expr.replace(/\$(\w+)/g, (whole, name: string) => {
    const value = name === '__rate_interval' ? '1m' : values[name];
    if (value === undefined) throw new Error(`${expr}: nothing for ${whole}`);
    return value;
  });
}

/** Names of the metrics that a query asks for, and of all labels that it names. */
export function namesIn(expr: string): { metrics: string[]; labels: string[] } {
  const withoutStrings = expr.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  const lists = [...withoutStrings.matchAll(/\b(?:by|on|without|ignoring) \(([^)]*)\)/g)].map(
    (m) => m[1] ?? '',
  );
  const matchers = [...withoutStrings.matchAll(/\{([^}]*)\}/g)].map((m) => m[1] ?? '');
  const labels = [
    ...lists.flatMap((list) => list.split(',')),
    ...matchers.flatMap((list) => list.split(',').map((each) => each.split(/[=!]/)[0] ?? '')),
  ];
  const rest = withoutStrings
    .replace(/\b(?:by|on|without|ignoring) \([^)]*\)/g, ' ')
    .replace(/\{[^}]*\}/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ');
  const words = [...rest.matchAll(/[a-zA-Z_:][\w:]*(?!\w*\s*\()/g)].map(([word]) => word);
  const functions = new Set([...rest.matchAll(/([a-zA-Z_]\w*)\s*\(/g)].map((m) => m[1]));
  const OPERATORS = new Set(['and', 'or', 'unless', 'sum', 'max', 'min', 'count', 'topk', 'avg', 'bool']);
  const clean = (all: readonly string[]): string[] => [
    ...new Set(all.map((each) => each.trim()).filter((each) => each !== '')),
  ];
  return {
    metrics: clean(words.filter((word) => !functions.has(word) && !OPERATORS.has(word))),
    labels: clean(labels),
  };
}
