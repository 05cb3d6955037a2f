import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findPod } from '../../../../cli/local/exec.ts';
import { notInForce, problemsOf, unacknowledged, waitingText } from '../../../../cli/local/problems.ts';
import { columns, statusText } from '../../../../cli/local/status-text.ts';
import type { ProcessState } from '../../../../cli/local/managed-process.ts';
import { meshPaths } from '../../../../cli/local/paths.ts';
import type { WaypointReport } from '../../../../cli/local/report.ts';
import {
  shutGates,
  type GatewayStatus,
  type MeshStatus,
  type Readiness,
} from '../../../../cli/local/status.ts';
import { pod, status } from './support/mesh-status.ts';

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
    assert.match(
      statusText(status([pod('a', { ips: ['198.18.1.2', 'fd4c::2'] })])),
      /node-a +198\.18\.1\.2 fd4c::2 +a +ready/,
    );
  });

  it('believes the kernel about enrolment, not the label', () => {
    const claimed = status([pod('a')], {
      enrolled: { 'uid-a': { uid: 'uid-a', verified: false, problem: 'no link', unguarded: [] } },
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
        waypoints: {},
      },
    });
    assert.deepEqual(whys(shut), ['ztunnel of node-a: xds: none']);
    const ended = pod('a', {
      ready: false,
      containers: [{ name: 'app', state: 'waiting', restarts: 2, lastEnd: 'exit code 1' }],
    });
    assert.deepEqual(whys(status([ended])), [
      'pod shop/a: its command app ended (exit code 1), is started again; its log: /run/loam/local/log/pods/shop_a_app.log',
    ]);
    assert.deepEqual(
      shutGates('{"gates":[{"name":"a","ready":true},{"name":"b","ready":false,"reason":"r"}]}'),
      ['b: r'],
    );
    assert.deepEqual(shutGates('starting\n'), ['starting']);
  });

  describe('of a waypoint', () => {
    const instance = {
      name: 'waypoint-0',
      index: 0,
      node: 'node-a',
      ip: '198.18.1.9',
      ips: ['198.18.1.9'],
      netns: 'w',
    };
    const waypoint: WaypointReport = {
      ...{ namespace: 'shop', name: 'waypoint', vip: '198.18.24.7', problems: [], instances: [instance] },
    };
    const mesh = (
      process: ProcessState,
      answer: Readiness,
      told: Partial<GatewayStatus> = {},
      problems: string[] = [],
    ): MeshStatus => {
      const { report, readiness, enrolled, controller, off } = status([]);
      assert.ok(controller);
      const gateway = { gateway: 'shop/waypoint', connected: true, ackedGeneration: 3, nacks: [] };
      return {
        off,
        report: {
          ...report,
          programs: [
            ...report.programs,
            { program: 'waypoint', node: 'node-a', instance: 'shop/waypoint-0', ...process },
          ],
          waypoints: [{ ...waypoint, problems }],
        },
        readiness: { ...readiness, waypoints: { 'shop/waypoint-0': answer } },
        enrolled,
        controller: { ...controller, gateways: [{ ...gateway, serves: ['Service shop/auth'], ...told }] },
      };
    };
    const running: ProcessState = { state: 'running', pid: 9, since: 0, restarts: 2 };

    it('shows its process, where it is, what it serves and that it has its configuration', () => {
      const well = mesh(running, { ready: true });
      assert.deepEqual(whys(well), []);
      assert.match(statusText(well), /waypoint shop\/waypoint-0 +node-a +pid 9 +2 restarts +ready\n/);
      assert.match(
        statusText(well),
        /WAYPOINTS\n +shop\/waypoint +198\.18\.24\.7 +node-a 198\.18\.1\.9 +1 ready +serves Service shop\/auth +configuration of generation 3 acknowledged\n/,
      );
      assert.ok(!statusText(status([])).includes('WAYPOINTS'));
    });

    it('makes a start wait for it, and names its log when it ends', () => {
      const [problem, ...others] = problemsOf(mesh(running, { ready: false, blocking: ['xds: none'] }));
      assert.deepEqual(problem, { what: 'waypoint shop/waypoint-0', why: 'xds: none', blocksStart: true });
      assert.deepEqual(others, []);
      const ended = mesh({ state: 'waiting', restarts: 1, lastEnd: 'SIGKILL' }, { ready: true });
      assert.deepEqual(whys(ended), [
        'waypoint shop/waypoint-0: ended (SIGKILL), is started again; its log: /run/loam/local/log/waypoint-shop_waypoint-0.log',
      ]);
      assert.equal(
        meshPaths('local').waypointLog('shop', 'waypoint', 0),
        '/run/loam/local/log/waypoint-shop_waypoint-0.log',
      );
    });

    it('is no use to anybody before the controller knows that an instance is ready', () => {
      const of = (programmed: string): MeshStatus => {
        const { controller, ...rest } = mesh(running, { ready: true });
        assert.ok(controller);
        const object = {
          ...{
            kind: 'Gateway',
            namespace: 'shop',
            name: 'waypoint',
            file: 'w.yaml',
            state: 'accepted' as const,
          },
          ...{ compiledTo: [], lastGood: false },
          conditions: [
            { type: 'Accepted', status: 'True', message: '' },
            { type: 'Programmed', status: programmed, message: 'no instance is ready' },
          ],
        };
        return { ...rest, controller: { ...controller, objects: [object] } };
      };
      assert.deepEqual(problemsOf(of('False')), [
        { what: 'Gateway shop/waypoint (w.yaml)', why: 'no instance is ready', blocksStart: true },
      ]);
      assert.deepEqual(problemsOf(of('True')), []);
    });

    it('holds a start back until everybody has what the controller tells', () => {
      const behind = mesh(running, { ready: true }, { ackedGeneration: 2 });
      assert.deepEqual(unacknowledged(behind), [
        { what: 'waypoint shop/waypoint', why: 'has generation 2 of 3', blocksStart: true },
      ]);
      assert.deepEqual(problemsOf(behind), [], 'later that is so for a moment after each change');
      assert.deepEqual(unacknowledged(mesh(running, { ready: true })), []);
      const { controller, ...rest } = status([]);
      assert.ok(controller);
      const nodes = [
        { node: 'node-a', connected: true, ackedGeneration: 1 },
        { node: 'node-b', connected: false, ackedGeneration: 0 },
      ];
      assert.deepEqual(
        unacknowledged({ ...rest, controller: { ...controller, nodes } }).map(({ what }) => what),
        ['ztunnel of node-a'],
      );
      assert.deepEqual(unacknowledged(rest), []);
    });

    it('tells what it refuses and what of its manifest is not followed, without holding a start back', () => {
      const refused = mesh(running, { ready: true }, { nacks: ['route/x: no such thing'] }, ['too many']);
      assert.deepEqual(whys(refused), [
        'waypoint shop/waypoint: too many',
        'waypoint shop/waypoint: refuses its configuration: route/x: no such thing',
      ]);
      assert.ok(problemsOf(refused).every((problem) => !problem.blocksStart));
      assert.match(statusText(refused), /REFUSES its configuration: route\/x: no such thing/);
    });
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

  it('tells what is not in force at all from what has a last good state', () => {
    const policy = {
      ...{ kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p', file: 'p.yaml', line: 9 },
      ...{
        state: 'rejected' as const,
        message: 'value is not allowed',
        field: 'spec.action',
        value: '"DENI"',
      },
      ...{ compiledTo: [], lastGood: false },
    };
    const error = { severity: 'error' as const, file: 'q.yaml', line: 4, about: 'Pod "Bad_Name"' };
    const files = [
      {
        file: 'q.yaml',
        error: 'x',
        problems: [
          {
            ...error,
            field: 'metadata.name',
            value: '"Bad_Name"',
            message: 'value is not allowed',
            allowed: 'letters',
          },
        ],
      },
    ];
    const of = (objects: readonly (typeof policy)[]): MeshStatus =>
      status([], { controller: { generation: 1, objects, files, nodes: [] } });
    const why = 'spec.action is "DENI": value is not allowed; it has no effect';
    const unknown = {
      what: 'q.yaml:4: Pod "Bad_Name"',
      why: 'metadata.name is "Bad_Name": value is not allowed; allowed: letters',
    };
    assert.deepEqual(notInForce(of([policy])), [
      unknown,
      { what: 'AuthorizationPolicy shop/p (p.yaml:9)', why },
    ]);
    const kept = { ...policy, lastGood: true };
    assert.deepEqual(notInForce(of([kept])), [unknown]);
    assert.deepEqual(notInForce(of([{ ...kept, file: 'q.yaml' }])), [], 'its file may be about what stays');
    assert.deepEqual(notInForce(status([pod('a')])), []);
  });

  it('counts a pod that waits for its manifest to be completed as not well', () => {
    const pending = {
      ...{ kind: 'Pod', namespace: 'shop', name: 'a', file: 'a.yaml', state: 'pending' as const },
      ...{ message: 'no node', compiledTo: [], lastGood: false },
    };
    const controller = { generation: 1, objects: [pending], files: [], nodes: [] };
    assert.deepEqual(whys(status([], { controller })), ['Pod shop/a (a.yaml): does not run: no node']);
    assert.deepEqual(whys(status([pod('a')], { controller })), [], 'it runs, its address is on its way');
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
