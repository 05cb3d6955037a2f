import type { Registry } from 'prom-client';

/** What a histogram's bucket or a counter shows one case by; the form is prom-client's. */
export interface Exemplar {
  readonly labelSet: Readonly<Record<string, string>>;
  readonly value: number;
  /** Seconds since the epoch. */
  readonly timestamp: number;
}

/** A metric as prom-client gives it; its own types name the type by a number, which it is not. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  readonly values: readonly Sample[];
}

interface Sample {
  /** Of histograms and summaries; else the family's name. */
  readonly metricName?: string;
  readonly labels: Labels;
  /** The first of the labels, where many samples that follow each other have the same object of them: written once. */
  readonly common?: Labels;
  readonly value: number;
  readonly exemplar?: Exemplar | null | undefined;
}

type Labels = Readonly<Record<string, string | number>>;

/** OpenMetrics 1.0, "Units and Base Units", and those of Istio's names. */
const UNITS = ['milliseconds', 'seconds', 'bytes'];
const TOTAL = '_total';
const TO_ESCAPE = /[\\\n"]/;
/** OpenMetrics 1.0, "Exemplars": of names and values together, in code points. */
const MAX_EXEMPLAR_CHARS = 128;

/**
 * All metrics of a registry as OpenMetrics 1.0 text, exemplars with them. Not by prom-client's own: that takes `_total` off the counters
 * that are registered, for good, so that the plain text after it names them otherwise.
 *
 * Numbers of `le` stand as in the plain text (`1`, not `1.0`, which is only advised): it is one series, whichever way it was read.
 */
export async function openMetricsText(registry: Registry): Promise<string> {
  const families = (await registry.getMetricsAsJSON()) as unknown as readonly Family[];
  const lines = [...families.flatMap(familyLines), '# EOF'];
  return `${lines.join('\n')}\n`;
}

function familyLines({ name, help, type, values }: Family): string[] {
  const isTotal = type === 'counter' && name.endsWith(TOTAL);
  const family = isTotal ? name.slice(0, -TOTAL.length) : name;
  const unit = UNITS.find((each) => family.endsWith(`_${each}`));
  return [
    // A counter's samples must end in _total: what does not is none here, and keeps its name.
    `# TYPE ${family} ${type === 'counter' && !isTotal ? 'unknown' : type}`,
    ...(unit === undefined ? [] : [`# UNIT ${family} ${unit}`]),
    `# HELP ${family} ${escaped(help)}`,
    ...sampleLines(name, values),
  ];
}

function sampleLines(name: string, values: readonly Sample[]): string[] {
  let known: Labels | undefined;
  let written = '';
  return values.map((sample) => {
    const { common, labels } = sample;
    if (common === undefined) return sampleLine(name, sample, labelPairs(labels));
    if (common !== known) written = labelPairs(common);
    known = common;
    return sampleLine(name, sample, labelPairs(labels, common, written));
  });
}

function sampleLine(name: string, { metricName = name, value, exemplar }: Sample, pairs: string): string {
  const line = `${metricName}${pairs === '' ? '' : `{${pairs}}`} ${numberText(value)}`;
  return exemplar && isShort(exemplar) ? `${line} # ${exemplarText(exemplar)}` : line;
}

function exemplarText({ labelSet, value, timestamp }: Exemplar): string {
  return `{${labelPairs(labelSet)}} ${numberText(value)} ${timestamp.toFixed(3)}`;
}

function isShort({ labelSet }: Exemplar): boolean {
  const chars = Object.entries(labelSet).reduce(
    (sum, [name, value]) => sum + name.length + [...value].length,
    0,
  );
  return chars <= MAX_EXEMPLAR_CHARS;
}

/** @param before those of the labels that stand in `written` already */
function labelPairs(labels: Labels, before?: Labels, written = ''): string {
  let text = written;
  for (const name in labels) {
    if (before !== undefined && Object.hasOwn(before, name)) continue;
    const value = labels[name] ?? '';
    text += `${text === '' ? '' : ','}${name}="${typeof value === 'string' ? escaped(value) : value}"`;
  }
  return text;
}

function escaped(text: string): string {
  if (!TO_ESCAPE.test(text)) return text;
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
