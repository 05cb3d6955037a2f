/** Grafana dashboards as values: what they have in common is said once, and the JSON is made of it (write.ts). */

/** A query with what its lines are called; `{{label}}` stands for a label's value. */
export interface Query {
  readonly expr: string;
  readonly legend?: string;
  /** Whether exemplars of its series are drawn, each a way to a trace. Of several queries of the same series, of one. */
  readonly exemplars?: boolean;
}

/** Units of Grafana that are used here. */
export type Unit = 'short' | 'reqps' | 'cps' | 'Bps' | 'bytes' | 'ms' | 's' | 'percentunit' | 'pps' | 'dateTimeFromNow';

export interface Panel {
  readonly title: string;
  /** `lines` over time, one `figure` now, or a `table` of what is now with a column for each query. */
  readonly kind: 'lines' | 'figure' | 'table';
  readonly queries: readonly Query[];
  readonly unit: Unit;
  /** Of 24; 12 unless given. */
  readonly width?: number;
  readonly description?: string;
  /** Lines on top of each other: they are parts of a whole. */
  readonly stacked?: boolean;
  /** From these values on the colour is orange, and red. */
  readonly bounds?: readonly [orange: number, red: number];
  /** Of a table: where a click on a row leads. */
  readonly link?: { readonly title: string; readonly url: string };
  /** Of a table: units of its columns, in the order of the queries. */
  readonly units?: readonly Unit[];
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** A variable: values of a label of a metric. */
export interface Variable {
  readonly name: string;
  readonly label: string;
  /** `label_values(metric{matchers}, label)`. */
  readonly query: string;
  /** May be several, and all of them; else it is one. */
  readonly multi?: boolean;
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly variables: readonly Variable[];
  readonly rows: readonly Row[];
}

const SCHEMA_VERSION = 41;
const SOURCE = { type: 'prometheus', uid: '${datasource}' } as const;
const TAG = 'loam';
const COLUMNS = 24;
const HEIGHTS = { lines: 8, figure: 4, table: 9 } as const;

/** The dashboard as Grafana reads it. */
export function grafanaJson(dashboard: Dashboard): object {
  const { uid, title, description, variables, rows } = dashboard;
  return {
    ...{ uid, title, description, tags: [TAG], schemaVersion: SCHEMA_VERSION, editable: true, graphTooltip: 1 },
    ...{ refresh: '30s', time: { from: 'now-1h', to: 'now' }, timezone: '', annotations: { list: [] } },
    links: [
      {
        ...{ type: 'dashboards', title: 'Loam', tags: [TAG], asDropdown: false },
        ...{ keepTime: true, includeVars: true, targetBlank: false, icon: 'external link' },
      },
    ],
    templating: { list: [sourceVariable(), ...variables.map(variableJson)] },
    panels: layOut(rows),
  };
}

function sourceVariable(): object {
  return { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', hide: 0 };
}

function variableJson({ name, label, query, multi = false }: Variable): object {
  return {
    ...{ name, label, type: 'query', datasource: SOURCE, definition: query, hide: 0 },
    query: { query, refId: `variable-${name}` },
    // With each change of the time range; sorted by name.
    ...{ refresh: 2, sort: 1, multi, includeAll: multi },
    ...(multi && { allValue: '.*', current: { text: ['All'], value: ['$__all'] } }),
  };
}

/** Places the panels from left to right and from top to bottom. */
function layOut(rows: readonly Row[]): object[] {
  const placed: object[] = [];
  let id = 1;
  let y = 0;
  for (const { title, panels } of rows) {
    placed.push({ id: id++, type: 'row', title, collapsed: false, panels: [], gridPos: { x: 0, y, w: COLUMNS, h: 1 } });
    y += 1;
    let x = 0;
    let height = 0;
    for (const panel of panels) {
      const w = panel.width ?? COLUMNS / 2;
      const h = HEIGHTS[panel.kind];
      if (x + w > COLUMNS) {
        y += height;
        [x, height] = [0, 0];
      }
      placed.push({ id: id++, gridPos: { x, y, w, h }, ...panelJson(panel) });
      x += w;
      height = Math.max(height, h);
    }
    y += height;
  }
  return placed;
}

function panelJson(panel: Panel): object {
  const { title, description, kind, queries, unit, bounds } = panel;
  const steps = [
    { color: 'green', value: null },
    ...(bounds === undefined ? [] : [{ color: 'orange', value: bounds[0] }, { color: 'red', value: bounds[1] }]),
  ];
  const defaults = { unit, min: 0, thresholds: { mode: 'absolute', steps } };
  const common = {
    ...{ title, datasource: SOURCE },
    ...(description !== undefined && { description }),
    targets: queries.map(({ expr, legend, exemplars }, at) => ({
      ...{ refId: refId(at), datasource: SOURCE, expr, editorMode: 'code' },
      ...(legend !== undefined && { legendFormat: legend }),
      ...(kind === 'lines' ? { range: true } : { instant: true, range: false }),
      ...(exemplars === true && { exemplar: true }),
      ...(kind === 'table' && { format: 'table' }),
    })),
  };
  switch (kind) {
    case 'lines':
      return {
        ...common,
        type: 'timeseries',
        fieldConfig: { defaults: { ...defaults, custom: linesStyle(panel.stacked ?? false) }, overrides: [] },
        options: {
          legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
          tooltip: { mode: 'multi', sort: 'desc' },
        },
      };
    case 'figure':
      return {
        ...common,
        type: 'stat',
        fieldConfig: { defaults, overrides: [] },
        options: {
          ...{ colorMode: bounds === undefined ? 'none' : 'value', graphMode: 'none', textMode: 'auto' },
          reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        },
      };
    case 'table':
      return {
        ...common,
        type: 'table',
        fieldConfig: { defaults, overrides: tableOverrides(panel) },
        options: { showHeader: true, cellHeight: 'sm' },
        transformations: [
          { id: 'merge', options: {} },
          { id: 'organize', options: { excludeByName: { Time: true } } },
        ],
      };
  }
}

function linesStyle(stacked: boolean): object {
  return {
    ...{ drawStyle: 'line', lineWidth: 1, fillOpacity: stacked ? 30 : 8, showPoints: 'never', spanNulls: false },
    stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
  };
}

/** Names and units of a table's columns, and where its rows lead. */
function tableOverrides({ queries, units = [], link }: Panel): object[] {
  const columns = queries.map(({ legend = '' }, at) => ({
    matcher: { id: 'byName', options: queries.length === 1 ? 'Value' : `Value #${refId(at)}` },
    properties: [
      { id: 'displayName', value: legend },
      ...(units[at] === undefined ? [] : [{ id: 'unit', value: units[at] }]),
    ],
  }));
  if (link === undefined) return columns;
  const links = { id: 'links', value: [{ title: link.title, url: link.url, targetBlank: false }] };
  return [...columns, { matcher: { id: 'byType', options: 'string' }, properties: [links] }];
}

/** Queries, the first of which shows the exemplars of their series. */
export function withExemplars([first, ...others]: readonly Query[]): Query[] {
  return first === undefined ? [] : [{ ...first, exemplars: true }, ...others];
}

function refId(at: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + at);
}

/** p50, p95 and p99 of a histogram. @param buckets the rate of its buckets, summed up by `le` and what else is to be told apart */
export function quantiles(buckets: string, legend = ''): Query[] {
  return [0.5, 0.95, 0.99].map((quantile) => ({
    expr: `histogram_quantile(${quantile}, ${buckets})`,
    legend: `p${quantile * 100}${legend === '' ? '' : ` ${legend}`}`,
  }));
}
