import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { DASHBOARDS } from '../../../deploy/monitoring/build/all.ts';
import { grafanaJson } from '../../../deploy/monitoring/build/dashboard.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import {
  committedDashboards,
  MONITORING,
  namesIn,
  panelQueries,
  ruleQueries,
  rules,
  variableQueries,
  yamlFiles,
} from '../../support/dashboards.ts';

/** What Prometheus itself has. */
const PROMETHEUS_OWN = new Set(['up', 'ALERTS']);

describe('deploy/monitoring', () => {
  it('has the dashboards as they are built (npm run dashboards)', () => {
    const built = Object.fromEntries(
      Object.entries(DASHBOARDS).map(([name, dashboard]) => [name, grafanaJson(dashboard)]),
    );
    assert.deepEqual(committedDashboards(), JSON.parse(JSON.stringify(built)));
  });

  it('has dashboards that lead only to each other', () => {
    const uids = new Set(Object.values(DASHBOARDS).map(({ uid }) => uid));
    assert.equal(uids.size, Object.keys(DASHBOARDS).length);
    const text = JSON.stringify(committedDashboards());
    const links = [...text.matchAll(/\/d\/([a-z-]+)/g)].map(([, uid = '']) => uid);
    assert.ok(links.length > 0);
    for (const uid of links) assert.ok(uids.has(uid), uid);
  });

  it('asks for no metric that the reference does not have', () => {
    const docs = ['metrics.md', 'metrics-controller.md']
      .map((file) => readFileSync(join(packageRoot(), 'docs', file), 'utf8'))
      .join('\n');
    const known = new Set(
      [...docs.matchAll(/`((?:istio|loam|process|nodejs)_[a-z_]+)`/g)].map(([, name = '']) => name),
    );
    const recorded = new Set(rules().map(({ record }) => record));
    for (const { where, expr } of [...panelQueries(), ...variableQueries(), ...ruleQueries()]) {
      const { metrics } = namesIn(expr);
      assert.ok(metrics.length > 0, `${where}: ${expr}`);
      for (const metric of metrics)
        assert.ok(
          [metric, metric.replace(/_bucket$/, '')].some((name) => known.has(name)) ||
            recorded.has(metric) ||
            PROMETHEUS_OWN.has(metric),
          `${where} asks for ${metric}`,
        );
    }
  });

  it('tests each alert, that it fires', () => {
    const tests = yamlFiles(join(MONITORING, 'rules', 'tests'))
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n');
    for (const { alert = '', record } of rules()) {
      if (record !== undefined)
        assert.ok(tests.includes(`expr: ${record}`) || record.includes('errors:rate'), record);
      else assert.ok(tests.includes(`ALERTS{alertname="${alert}", alertstate="firing"`), alert);
    }
  });

  it('says in each alert what happened and what to look at next', () => {
    for (const { alert, labels, annotations } of rules()) {
      if (alert === undefined) continue;
      assert.match(alert, /^Loam[A-Z]/);
      assert.match(labels?.['severity'] ?? '', /^(info|warning|critical)$/, alert);
      assert.ok((annotations?.['summary'] ?? '').length > 20, alert);
      assert.match(
        annotations?.['description'] ?? '',
        /`|docs\/|[Dd]ashboard|LoamW|TrafficPolicy|log/,
        alert,
      );
    }
  });
});
