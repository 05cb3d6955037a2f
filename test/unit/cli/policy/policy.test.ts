import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { FILE_FORM, readExpectations, verifyAll } from '../../../../cli/policy/expectations.ts';
import { preview } from '../../../../cli/policy/preview.ts';
import { SeenFlows } from '../../../../cli/policy/seen-flows.ts';
import { readObjectKey } from '../../../../cli/policy/proposal.ts';
import { copyWithProposal } from '../../../../cli/policy/trial-manifests.ts';
import { World } from '../../../../cli/why/world.ts';
import type { ConnectionEnded, ConnectionOpened } from '../../../../lib/flow/event.ts';
import { fakeMesh, portPolicy, type FakeMeshOptions } from '../mesh/fake-mesh.ts';

const MESH: FakeMeshOptions = {
  pods: [
    { name: 'a', ip: '10.0.0.1' },
    { name: 'b', ip: '10.0.0.2', policies: ['m/no-8080'] },
  ],
  services: [{ name: 'b', vip: '10.1.0.1', port: 80, targetPort: 8080, pods: ['b'] }],
  policies: [portPolicy('no-8080', 'deny', 9999)],
};
const WITH_DENIAL = { ...MESH, policies: [portPolicy('no-8080', 'deny', 8080)] };

describe('policy test', () => {
  it('says what holds, and of the rest why not', async () => {
    const world = await World.read(fakeMesh(WITH_DENIAL));
    const expectations = readExpectations(
      'f',
      `tests:
  - {from: a, to: "b:80", expect: denied, policy: m/no-8080}
  - {from: m/a, to: service/b, expect: allowed, name: the call}
  - {from: a, to: "pod/b:8080", expect: denied, policy: m/other}
  - {from: b, to: "pod/a:8080", expect: allowed}`,
    );
    const results = await verifyAll(world, expectations);
    assert.deepEqual(
      results.map(({ holds, problem }) => [holds, problem]),
      [
        [true, undefined],
        [false, 'it is denied: denied by policy m/no-8080'],
        [false, 'it is so by m/no-8080'],
        [true, undefined],
      ],
    );
  });

  it('reads the form that its help shows', () => {
    const [first, second] = readExpectations('f', FILE_FORM);
    assert.deepEqual(first?.request, { method: 'POST', path: '/charge' });
    assert.deepEqual([second?.to, second?.expect], ['shop/db:6379', 'denied']);
  });

  for (const [text, error] of [
    ['', /f: tests: missing; allowed: a list such as/],
    ['tests: [', /f is no YAML/],
    [
      'tests: [{from: a, to: b, expect: maybe}]',
      /f: tests\[0\]\.expect: "maybe"; allowed: allowed, denied, unreachable/,
    ],
    ['tests: [{to: b, expect: denied}]', /tests\[0\]\.from: missing; allowed: a pod/],
    ['tests: [{from: a, to: b, expect: denied, port: 1}]', /tests\[0\]\.port: 1; allowed: name, from, to/],
    ['tests: [{from: a, to: b, expect: denied, request: GET}]', /request: "GET"; allowed: METHOD \/path/],
  ] as const)
    it(`refuses ${JSON.stringify(text)}`, () =>
      assert.throws(() => readExpectations('f', text), { code: 'MESH_INPUT', message: error }));
});

describe('policy preview', () => {
  const opened: ConnectionOpened = {
    ...{ kind: 'opened', id: 1, at: 0, side: 'destination', mtls: true, service: 'm/b' },
    source: { namespace: 'm', workload: 'a' },
    destination: { namespace: 'm', workload: 'b', ip: '10.0.0.2', port: 8080 },
    verdict: { allowed: true },
  };

  it('says which of the calls that were seen would be cut, and which let in', async () => {
    const [before, after] = await Promise.all([MESH, WITH_DENIAL].map((mesh) => World.read(fakeMesh(mesh))));
    assert.ok(before && after);
    const state = await before.node('node-a');
    const seen = new SeenFlows(before.inventory, 'absent' in state ? undefined : state);
    seen.addEvent(opened);
    seen.addEvent(opened);
    const away: ConnectionEnded = {
      ...{ ...opened, kind: 'ended', opened: true, durationMs: 1, up: 1, down: 1 },
      source: { ip: '192.0.2.1' },
    };
    seen.addEvent(away);
    const found = await preview(before, after, seen.all, seen.leftOut);
    assert.deepEqual([found.flows, found.calls, found.leftOut, found.opened], [1, 2, 1, []]);
    assert.deepEqual(found.cut, [
      {
        ...{ from: 'm/a', to: 'Service m/b port 80', times: 2, before: 'allowed', after: 'denied' },
        ...{ endpoint: 'm/b', policy: 'm/no-8080', reason: 'denied by policy m/no-8080' },
      },
    ]);
    const back = await preview(after, before, seen.all, 0);
    assert.deepEqual([back.cut.length, back.opened.length], [0, 1]);
  });

  it('takes what is open for seen as well', async () => {
    const world = await World.read(fakeMesh(MESH));
    const seen = new SeenFlows(world.inventory, undefined);
    seen.addConnection({
      ...{
        node: 'node-a',
        podUid: 'uid-a',
        direction: 'outbound',
        state: 'open',
        since: '',
        bytesSent: 0,
        bytesReceived: 0,
      },
      source: { address: '10.0.0.1:5', workload: 'a', namespace: 'm' },
      destination: {
        address: '10.0.0.2:8080',
        workload: 'b',
        namespace: 'm',
        service: 'b.m.svc.cluster.local',
      },
    });
    assert.deepEqual(
      seen.all.map(({ question: { target, port }, endpoint }) => [target.kind, port, endpoint]),
      [['service', 80, 'm/b']],
    );
  });
});

describe('a proposal beside the manifests', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-proposal-test-'));
    mkdirSync(join(folder, 'from', 'sub'), { recursive: true });
    const policy = (name: string, action: string): string =>
      `kind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: m}\nspec: {action: ${action}}\n`;
    writeFileSync(join(folder, 'from', 'a.yaml'), `${policy('one', 'DENY')}---\n${policy('two', 'DENY')}`);
    writeFileSync(join(folder, 'from', 'sub', 'b.yml'), policy('three', 'DENY'));
    writeFileSync(join(folder, 'from', 'broken.yaml'), 'a: [');
    writeFileSync(join(folder, 'from', 'secret.key'), 'not a manifest');
    writeFileSync(join(folder, 'new.yaml'), policy('two', 'ALLOW'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('stands in place of what has its name, and leaves the mesh as it is', () => {
    const to = join(folder, 'to');
    const without = [readObjectKey('AuthorizationPolicy/m/three')];
    const files = copyWithProposal(join(folder, 'from'), to, { files: [join(folder, 'new.yaml')], without });
    assert.deepEqual(files, ['proposed-0.yaml']);
    assert.deepEqual(readdirSync(to).sort(), ['a.yaml', 'broken.yaml', 'proposed-0.yaml', 'sub']);
    assert.deepEqual(readdirSync(join(to, 'sub')), []);
    const kept = readFileSync(join(to, 'a.yaml'), 'utf8');
    assert.match(kept, /name: one/);
    assert.doesNotMatch(kept, /name: two/);
    assert.match(readFileSync(join(folder, 'from', 'a.yaml'), 'utf8'), /name: two/);
  });

  it('says what cannot be', () => {
    const copy = (files: readonly string[], without: readonly string[]) => () =>
      copyWithProposal(join(folder, 'from'), join(folder, 'to'), {
        files,
        without: without.map(readObjectKey),
      });
    assert.throws(copy([], ['AuthorizationPolicy/m/none']), /the mesh has no AuthorizationPolicy\/m\/none/);
    assert.throws(copy([join(folder, 'absent.yaml')], []), {
      code: 'MESH_INPUT',
      message: /cannot be read: ENOENT/,
    });
    assert.throws(() => readObjectKey('m/three'), /allowed: KIND\/NAMESPACE\/NAME/);
  });
});
