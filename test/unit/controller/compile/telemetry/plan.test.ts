import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { group } from '../../../../../controller/compile/group.ts';
import { Outcomes } from '../../../../../controller/compile/outcomes.ts';
import { TelemetryPlanner } from '../../../../../controller/compile/telemetry/plan.ts';
import type { SidePlan } from '../../../../../controller/compile/telemetry/effective.ts';
import { objectKey, refOf, type KubeObject, type Pod } from '../../../../../controller/model/objects.ts';

const ROOT = 'istio-system';

function telemetry(namespace: string, name: string, spec: object, created?: string): KubeObject {
  const metadata = { name, namespace, ...(created !== undefined && { creationTimestamp: created }) };
  return { apiVersion: 'telemetry.istio.io/v1', kind: 'Telemetry', metadata, spec };
}
function pod(namespace: string, name: string, app: string): Pod {
  const metadata = { name, namespace, labels: { app } };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [] } };
}
const SETTINGS = {
  apiVersion: 'loam.dev/v1',
  kind: 'MeshSettings',
  metadata: { name: 'mesh' },
  spec: {
    telemetryProviders: [
      { name: 'otel', otlp: { endpoint: 'http://otel:4318/' } },
      { name: 'other', otlp: { endpoint: 'http://other:4318' } },
    ],
  },
} as KubeObject;
const logging = (...accessLogging: readonly object[]): object => ({ accessLogging });
const tracing = (...entries: readonly object[]): object => ({ tracing: entries });
const providers = (...names: readonly string[]): object => ({ providers: names.map((name) => ({ name })) });
const selecting = (app: string): object => ({ selector: { matchLabels: { app } } });

function planner(...objects: readonly KubeObject[]): TelemetryPlanner {
  return new TelemetryPlanner(group([SETTINGS, ...objects]), ROOT);
}
function logs(side: SidePlan | undefined): string | undefined {
  return side?.logs?.map(({ format, filter }) => (filter === undefined ? format : `${format}?`)).join('+');
}
function conditions(all: TelemetryPlanner, object: KubeObject): string[] {
  const outcomes = new Outcomes();
  all.report(outcomes);
  const found = outcomes.of(objectKey(refOf(object)));
  return (found?.conditions ?? []).map(({ type, status, reason }) => `${type} ${status} ${reason}`);
}

describe('which Telemetry counts', () => {
  const FRONT = pod('shop', 'front-0', 'front');

  it('is none where there is none, or only of other namespaces', () => {
    assert.equal(planner().ofPod(FRONT), undefined);
    const all = planner(telemetry('other', 't', logging({ disabled: true })));
    assert.equal(all.ofPod(FRONT), undefined);
  });

  it('is the more specific: mesh, namespace, workload', () => {
    const mesh = telemetry(ROOT, 'mesh', logging({ disabled: true }));
    const namespace = telemetry('shop', 'all', logging(providers('text')));
    const workload = telemetry('shop', 'front', {
      ...selecting('front'),
      ...logging({ filter: { expression: 'response.code >= 400' } }),
    });
    assert.equal(logs(planner(mesh).ofPod(FRONT)?.server), '');
    assert.equal(logs(planner(mesh, namespace).ofPod(FRONT)?.server), 'text');
    assert.equal(logs(planner(mesh, namespace, workload).ofPod(FRONT)?.server), 'text?');
    assert.equal(logs(planner(mesh, namespace, workload).ofPod(pod('shop', 'db-0', 'db'))?.server), 'text');
    // A selector in the root namespace is for its own pods (Istio).
    assert.equal(
      planner(telemetry(ROOT, 'm', { ...selecting('front'), ...logging({}) })).ofPod(FRONT),
      undefined,
    );
  });

  it('is for one side alone by its match', () => {
    const plan = planner(
      telemetry(
        'shop',
        'all',
        logging(
          { match: { mode: 'CLIENT' }, disabled: true },
          { match: { mode: 'SERVER' }, ...providers('text', 'json') },
        ),
      ),
    ).ofPod(FRONT);
    assert.equal(logs(plan?.client), '');
    assert.equal(logs(plan?.server), 'text+json');
  });

  it('gives spans a provider, a share and tags, each from the level that says it last', () => {
    const plan = planner(
      telemetry(
        ROOT,
        'mesh',
        tracing({ ...providers('otel'), customTags: { team: { literal: { value: 'a' } } } }),
      ),
      telemetry('shop', 'all', tracing({ randomSamplingPercentage: 50 })),
      telemetry('shop', 'front', { ...selecting('front'), ...tracing({ ...providers('other') }) }),
      telemetry('shop', 'off', { ...selecting('off'), ...tracing({ disableSpanReporting: true }) }),
    );
    const expected = { endpoint: 'http://other:4318', sampling: 0.5, tags: { team: 'a' } };
    assert.deepEqual(plan.ofPod(FRONT)?.server.tracing, expected);
    assert.equal(plan.ofPod(pod('shop', 'off-0', 'off'))?.server.tracing, undefined);
    const only = planner(telemetry('shop', 'all', tracing({ randomSamplingPercentage: 50 })));
    assert.equal(only.ofPod(FRONT)?.server.tracing, undefined);
    assert.equal(plan.ofPod(FRONT)?.server.logs, undefined);
  });

  it('is at a waypoint that of its namespace, Gateway and Service', () => {
    const gateway = { targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'way' }] };
    const service = { targetRefs: [{ kind: 'Service', name: 'web' }] };
    const all = planner(
      telemetry('shop', 'all', logging(providers('text'))),
      telemetry('shop', 'way', { ...gateway, ...logging({ filter: { expression: 'connection.mtls' } }) }),
      telemetry('shop', 'web', { ...service, ...logging({ disabled: true }) }),
    );
    assert.equal(logs(all.ofWaypoint('shop/way', 'shop/other')?.server), 'text?');
    assert.equal(logs(all.ofWaypoint('shop/way', 'shop/web')?.server), '');
    assert.equal(logs(all.ofWaypoint('shop/way2')?.server), 'text');
    assert.equal(all.ofWaypoint('other/way'), undefined);
  });
});

describe('what is said of a Telemetry', () => {
  it('is that it is in force', () => {
    const object = telemetry('shop', 'all', logging({}));
    assert.deepEqual(conditions(planner(object), object), [
      'Accepted True Accepted',
      'Enforced True Enforced',
    ]);
  });

  it('is which one counts in its place, where another is older', () => {
    const young = telemetry('shop', 'a', logging({}), '2026-02-02T00:00:00Z');
    const old = telemetry('shop', 'b', logging({}), '2026-01-01T00:00:00Z');
    const all = planner(young, old);
    assert.deepEqual(conditions(all, old), ['Accepted True Accepted', 'Enforced True Enforced']);
    assert.deepEqual(conditions(all, young), ['Accepted False Conflicted', 'Enforced False Conflicted']);
  });

  it('is at which pods it is in force, and at which it is not', () => {
    const one = telemetry('shop', 'a', { ...selecting('front'), ...logging({}) });
    const two = telemetry('shop', 'b', { ...selecting('front'), ...logging({}) });
    const none = telemetry('shop', 'c', { ...selecting('nobody'), ...logging({}) });
    const all = planner(one, two, none);
    all.notePod(pod('shop', 'front-0', 'front'));
    const outcomes = new Outcomes();
    all.report(outcomes);
    assert.match(outcomes.of(objectKey(refOf(one)))?.message ?? '', /in force at pod shop\/front-0$/);
    assert.match(
      outcomes.of(objectKey(refOf(two)))?.message ?? '',
      /at pod shop\/front-0 shop\/a, which is older, counts/,
    );
    assert.deepEqual(conditions(all, none), ['Accepted True Accepted', 'Enforced False TargetNotFound']);
  });

  it('is which provider there is not, and the rest is in force', () => {
    const object = telemetry('shop', 'all', {
      ...logging(providers('texts'), { disabled: true }),
      ...tracing(providers('otl')),
    });
    const all = planner(object);
    assert.deepEqual(conditions(all, object), ['Accepted False Invalid', 'Enforced False Invalid']);
    const outcomes = new Outcomes();
    all.report(outcomes);
    const message = outcomes.of(objectKey(refOf(object)))?.message ?? '';
    assert.match(
      message,
      /spec\.accessLogging\[0\]\.providers\[0\]\.name: there is no provider "texts"; did you mean "text"\? \(allowed: json, text, envoy\)/,
    );
    assert.match(
      message,
      /spec\.tracing\[0\]\.providers\[0\]\.name: there is no provider "otl"; did you mean "otel"\? \(allowed: otel, other\)/,
    );
    assert.equal(logs(all.ofPod(pod('shop', 'a', 'a'))?.server), '');
  });

  it('is which fields Loam does not act on', () => {
    const object = telemetry('shop', 'all', { ...logging({}), metrics: [{}] });
    assert.deepEqual(conditions(planner(object), object), [
      'Accepted True Accepted',
      'Enforced False UnsupportedValue',
    ]);
  });
});
