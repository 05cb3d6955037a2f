import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findPod } from '../../../../cli/local/exec.ts';
import { problemsOf, waitingText } from '../../../../cli/local/problems.ts';
import type { PodReport } from '../../../../cli/local/report.ts';
import { columns, statusText } from '../../../../cli/local/status-text.ts';
import { shutGates, type MeshStatus } from '../../../../cli/local/status.ts';

function pod(name: string, over: Partial<PodReport> = {}): PodReport {
  return {
    ...{
      namespace: 'shop',
      name,
      node: 'node-a',
      serviceAccount: name,
      uid: `uid-${name}`,
      ip: '198.18.1.2',
    },
    ...{ netns: `n-${name}`, initPid: 7, phase: { phase: 'running' }, ready: true, wantsEnrolment: true },
    containers: [{ name: 'app', state: 'running', pid: 8, since: 0, restarts: 0 }],
    ...over,
  };
}

function status(pods: readonly PodReport[], over: Partial<MeshStatus> = {}): MeshStatus {
  return {
    report: {
      ...{ mesh: 'local', manifests: '/m', addresses: '198.18.0.0/19', supervisorPid: 1, generation: 1 },
      programs: [
        { program: 'controller', state: 'running', pid: 2, since: 0, restarts: 0 },
        { program: 'agent', node: 'node-a', state: 'running', pid: 3, since: 0, restarts: 0 },
        { program: 'ztunnel', node: 'node-a', state: 'running', pid: 4, since: 0, restarts: 1 },
      ],
      nodes: [{ name: 'node-a', netns: 'n' }],
      pods,
    },
    readiness: {
      controller: { ready: true },
      nodes: [{ node: 'node-a', agent: { ready: true }, ztunnel: { ready: true } }],
    },
    enrolled: Object.fromEntries(pods.map(({ uid }) => [uid, { uid, verified: true }])),
    controller: { generation: 3, objects: [], files: [], nodes: [] },
    ...over,
  };
}

const whys = (of: MeshStatus): string[] => problemsOf(of).map(({ what, why }) => `${what}: ${why}`);

describe('local mesh: status', () => {
  it('is well when everything is', () => {
    const good = status([pod('a')]);
    assert.deepEqual(problemsOf(good), []);
    assert.match(statusText(good), /ztunnel +node-a +pid 4 +1 restarts +ready/);
    assert.match(
      statusText(good),
      /shop\/a +node-a +198\.18\.1\.2 +a +ready +enrolled, verified +0 restarts/,
    );
    assert.match(statusText(good), /All is well\.\n$/);
  });

  it('believes the kernel about enrolment, not the label', () => {
    const claimed = status([pod('a')], {
      enrolled: { 'uid-a': { uid: 'uid-a', verified: false, problem: 'no link' } },
    });
    assert.deepEqual(whys(claimed), ['pod shop/a: no link']);
    assert.match(statusText(claimed), /claimed, NOT VERIFIED/);
    assert.match(whys(status([pod('a')], { enrolled: {} }))[0] ?? '', /the kernel does not show it/);
    assert.deepEqual(whys(status([pod('a', { wantsEnrolment: false })])), [
      'pod shop/a: should have left the mesh',
    ]);
  });

  it('names the gate that blocks, and a command that ends', () => {
    const shut = status([], {
      readiness: {
        controller: { ready: true },
        nodes: [
          { node: 'node-a', agent: { ready: true }, ztunnel: { ready: false, blocking: ['xds: none'] } },
        ],
      },
    });
    assert.deepEqual(whys(shut), ['ztunnel of node-a: xds: none']);
    const ended = pod('a', {
      ready: false,
      containers: [{ name: 'app', state: 'waiting', restarts: 2, lastEnd: 'exit code 1' }],
    });
    assert.deepEqual(whys(status([ended])), [
      'pod shop/a: its command app ended (exit code 1), is started again',
    ]);
    assert.deepEqual(
      shutGates('{"gates":[{"name":"a","ready":true},{"name":"b","ready":false,"reason":"r"}]}'),
      ['b: r'],
    );
    assert.deepEqual(shutGates('starting\n'), ['starting']);
  });

  it('shows a rejected manifest and what is in force, without holding a start back', () => {
    const object = {
      kind: 'Service',
      namespace: 'shop',
      name: 's',
      file: 's.yaml',
      compiledTo: [],
      lastGood: true,
    };
    const rejected = {
      ...object,
      state: 'rejected' as const,
      field: 'spec.x',
      message: 'unknown field',
      allowed: 'ports',
    };
    const of = status([], {
      controller: {
        generation: 1,
        objects: [rejected],
        files: [{ file: 'b.yaml', error: 'no YAML' }],
        nodes: [],
      },
    });
    assert.deepEqual(whys(of), [
      'b.yaml: no YAML',
      'Service shop/s (s.yaml): spec.x: unknown field; allowed: ports; its last good state stays in force',
    ]);
    assert.ok(problemsOf(of).every((problem) => !problem.blocksStart));
    assert.match(statusText(of), /Service shop\/s \(s\.yaml\) +REJECTED: spec\.x/);
  });

  it('says in a line what a start waits for', () => {
    const waits = (...what: string[]): string =>
      waitingText(what.map((each) => ({ what: each, why: '', blocksStart: true })));
    assert.equal(waits('controller', 'controller', 'pods'), 'controller, pods');
    assert.equal(waits('ztunnel of a', 'pods', 'pod x/a', 'pod x/b'), 'ztunnel of a, pod x/a, pod x/b');
    assert.equal(waits('pod x/a', 'pod x/b', 'pod x/c'), '3 pods');
    assert.deepEqual(
      columns([
        ['a', 'b'],
        ['ccc', 'd'],
      ]),
      ['  a    b', '  ccc  d'],
    );
  });

  it('finds the pod that a person means', () => {
    const { report } = status([pod('a'), pod('b'), pod('b', { namespace: 'other' })]);
    assert.equal(findPod(report, 'a').name, 'a');
    assert.equal(findPod(report, 'other/b').namespace, 'other');
    assert.throws(() => findPod(report, 'b'), /several pods are named b; say which: shop\/b, other\/b/);
    assert.throws(() => findPod(report, 'c'), /there is no pod "c"; there are: other\/b, shop\/a, shop\/b/);
  });
});
