import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { packageRoot } from '../../../../lib/package-root.ts';
import { requestLine } from '../../../../waypoint/telemetry/access-record.ts';
import { CONNECTION_LABELS } from '../../../../waypoint/telemetry/connection-metrics.ts';
import { MetricsRegistry } from '../../../../waypoint/telemetry/metrics-registry.ts';
import { BUCKETS, REQUEST_LABELS } from '../../../../waypoint/telemetry/request-metrics.ts';
import { RUNTIME_COUNTERS, RUNTIME_GAUGES } from '../../../../waypoint/telemetry/runtime-metrics.ts';
import { RESPONSE_FLAGS } from '../../../../waypoint/telemetry/response-flags.ts';
import { toyRequest } from './records.ts';

describe('the reference of metrics, flags and fields', () => {
  it('has each flag of the code, with its meaning and what to check, and no other', () => {
    const rows = tableRows(read('response-flags.md'));
    assert.deepEqual(
      rows.map(([flag, meaning]) => [flag, meaning]),
      Object.entries(RESPONSE_FLAGS).map(([flag, meaning]) => [`\`${flag}\``, meaning]),
    );
    for (const [flag, , check] of rows) assert.ok((check ?? '').length > 20, `${flag}: what to check`);
  });

  it('has each metric of the code with its labels, and no other', async () => {
    const described = await new MetricsRegistry('test').describe();
    const inCode = described.map(({ name, labels }) => {
      const isRequest = REQUEST_LABELS.every((label) => labels.includes(label));
      const isConnection = !isRequest && CONNECTION_LABELS.every((label) => labels.includes(label));
      return `${name} ${isRequest ? '(requests)' : isConnection ? '(connections)' : labels.join(' ')}`;
    });
    const inDoc = read('metrics.md')
      .split('\n## ')
      .filter((section) => !/^(Agent|Ztunnel)\n/.test(section))
      .flatMap((section) => {
        const own = section.includes('| labels |');
        const kind = section.startsWith('Requests') ? '(requests)' : '(connections)';
        return tableRows(section).map(([name = '', , labels = '']) => {
          return `${name} ${own ? labels.replaceAll(',', '') : kind}`.replaceAll('`', '');
        });
      });
    assert.deepEqual(inDoc.sort(), inCode.sort());
  });

  it('has no metric that nobody feeds', () => {
    const folder = join(packageRoot(), 'waypoint');
    const code = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('runtime-metrics.ts'))
      .map((file) => readFileSync(join(folder, file), 'utf8'))
      .join('\n');
    const fed = new Set([...code.matchAll(/\.(?:count|step|set|show)\('(\w+)'/g)].map(([, name]) => name));
    const all = [...Object.keys(RUNTIME_COUNTERS), ...Object.keys(RUNTIME_GAUGES)];
    assert.deepEqual(
      all.filter((name) => !fed.has(name)),
      [],
    );
  });

  it('has the labels of requests and the buckets', () => {
    const doc = read('metrics.md');
    const list = doc.slice(doc.indexOf('Labels of all of these'), doc.indexOf('- `reporter`'));
    assert.deepEqual(
      [...list.matchAll(/`([a-z_]+)`/g)].map(([, label]) => label),
      [...REQUEST_LABELS],
    );
    const buckets = /histograms: ([\d., \n]+)\./.exec(doc)?.[1]?.split(/,\s+/).map(Number);
    assert.deepEqual(buckets, [...BUCKETS]);
  });

  it('has each field of the access log', () => {
    const { fields } = requestLine(toyRequest());
    const inDoc = tableRows(read('telemetry.md')).flatMap(([names = '']) =>
      [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name),
    );
    assert.deepEqual(inDoc.sort(), Object.keys(fields).sort());
  });
});

function read(name: string): string {
  return readFileSync(join(packageRoot(), 'docs', name), 'utf8');
}

/** Cells of all table rows but headers. */
function tableRows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}
