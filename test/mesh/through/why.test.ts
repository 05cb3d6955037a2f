import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { meshEnvironment } from '../../../cli/local/programs.ts';
import { inSandbox } from '../../../cli/local/sandbox.ts';
import { LocalReader } from '../../../cli/mesh/local-reader.ts';
import { findTarget } from '../../../cli/mesh/find.ts';
import type { MeshPod } from '../../../cli/mesh/reader.ts';
import type { Preview } from '../../../cli/policy/preview.ts';
import { explain } from '../../../cli/why/explain.ts';
import type { Explanation } from '../../../cli/why/model.ts';
import { World } from '../../../cli/why/world.ts';
import { parseHostPort } from '../../../lib/mesh/hbone/host-port.ts';
import { appFile, eventually, finished, jsonLines, loam } from '../harness.ts';
import { PATIENCE } from '../../support/patience.ts';
import { podManifest } from '../manifests.ts';
import { object, wayServer } from '../waypoint-manifests.ts';
import { throughMesh } from './mesh.ts';

const PAIRS = 1_000;
const SOURCES_AT_ONCE = 3;
const FILE = 'why.yaml';
/** What way-server.mjs listens on; a name leads pods outside of the mesh to a Service's port at its pods, where nobody does. */
const HTTP_PORT = 8080;
const GREETING_PORT = 7000;
const SERVERS = ['m/v1', 'm/near', 'm/far', 'm/lost', 'm/on-four', 'm/on-six', 'm/on-both', 'n/api'];

/** Rules of each kind, beside what the shared mesh has: another namespace, and what may call whom. */
const MANIFESTS = [
  '{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {loam.dev/dataplane-mode: ambient}}}\n',
  podManifest('caller').replaceAll('namespace: m', 'namespace: n'),
  podManifest('bound', { node: 'node-b' }).replaceAll('namespace: m', 'namespace: n'),
  wayServer('api').replaceAll('namespace: m', 'namespace: n'),
  object('AuthorizationPolicy', 'not-from-n', {
    selector: { matchLabels: { app: 'far' } },
    action: 'DENY',
    rules: [
      { from: [{ source: { namespaces: ['n'] } }], to: [{ operation: { ports: [String(GREETING_PORT)] } }] },
    ],
  }),
  object('AuthorizationPolicy', 'only-client', {
    selector: { matchLabels: { app: 'lost' } },
    action: 'ALLOW',
    rules: [
      { from: [{ source: { principals: ['cluster.local/ns/m/sa/client'] } }] },
      { to: [{ operation: { ports: [String(GREETING_PORT)] } }] },
    ],
  }),
  object('AuthorizationPolicy', 'no-secrets', {
    targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
    action: 'DENY',
    rules: [
      { to: [{ operation: { paths: ['/secret', '/secret/*'] } }] },
      {
        from: [{ source: { principals: ['cluster.local/ns/m/sa/four'] } }],
        to: [{ operation: { methods: ['POST'] } }],
      },
    ],
  }),
  object('AuthorizationPolicy', 'held-by', {
    targetRefs: [{ group: '', kind: 'Service', name: 'held' }],
    action: 'ALLOW',
    rules: [
      { from: [{ source: { namespaces: ['m'] } }], to: [{ operation: { methods: ['GET'] } }] },
      { from: [{ source: { serviceAccounts: ['n/caller'] } }] },
    ],
  }),
  object('HTTPRoute', 'held', {
    parentRefs: [{ group: '', kind: 'Service', name: 'held' }],
    rules: [
      {
        matches: [{ path: { type: 'PathPrefix', value: '/moved' } }],
        filters: [{ type: 'RequestRedirect', requestRedirect: { statusCode: 302, hostname: 'elsewhere' } }],
      },
      {
        matches: [{ path: { type: 'PathPrefix', value: '/status' } }],
        backendRefs: [{ name: 'held', port: 80 }],
      },
    ],
  }),
  JSON.stringify({
    ...{ apiVersion: 'security.istio.io/v1', kind: 'PeerAuthentication' },
    metadata: { name: 'default', namespace: 'n' },
    spec: { mtls: { mode: 'STRICT' } },
  }),
  JSON.stringify({
    ...{ apiVersion: 'loam.dev/v1', kind: 'EgressPolicy', metadata: { name: 'bound', namespace: 'n' } },
    spec: {
      selector: { matchLabels: { app: 'bound' } },
      allow: [{ services: [{ name: 'web', namespace: 'm' }] }, { namespaces: ['n'] }],
    },
  }),
].join('\n---\n');

/** Numbers from 0 to 1 that are the same in each run (Numerical Recipes' generator). */
function dice(seed: number): <T>(list: readonly T[]) => T {
  let state = seed;
  return (list) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return list[Math.floor((state / 2 ** 32) * list.length)] as (typeof list)[number];
  };
}

interface Pair {
  readonly id: number;
  readonly source: string;
  readonly destination: string;
  readonly request?: { readonly method: string; readonly path: string };
}

interface Predicted extends Pair {
  readonly explanation: Explanation;
}

interface Outcome {
  readonly id: number;
  readonly status?: number;
  readonly pod?: string;
  readonly greeted?: string;
  readonly error?: string;
}

describe('mesh: why', function () {
  this.timeout(240_000);
  let reader: LocalReader;
  /** Of the pods that dial, asked once: the supervisor has enough to do. */
  const pids = new Map<string, number>();
  // Before the mesh is given back, which takes it down after the last of its users.
  after(async () => {
    mesh().remove(FILE);
    await eventually('what was added to be gone', async () => {
      const { report, controller } = await mesh().status();
      return (
        report.pods.every(({ namespace }) => namespace !== 'n') &&
        controller?.objects.every(({ file }) => !file.endsWith(FILE))
      );
    });
  });
  const mesh = throughMesh.use();

  before(async () => {
    mesh().write(FILE, MANIFESTS);
    reader = await LocalReader.open(mesh().name);
    await eventually('all of it to be in force', async () => {
      const { report, controller, enrolled } = await mesh().status();
      for (const { namespace, name, initPid } of report.pods)
        if (initPid !== undefined) pids.set(`${namespace}/${name}`, initPid);
      const objects = controller?.objects.filter(({ file }) => file.endsWith(FILE)) ?? [];
      const rejected = objects.filter(({ state }) => state === 'rejected');
      assert.deepEqual(rejected, []);
      const pods = report.pods.filter(({ namespace }) => namespace === 'n');
      return (
        objects.length >= 14 &&
        pods.length === 3 &&
        pods.every(({ ready, uid }) => ready && enrolled[uid]?.verified === true) &&
        controller?.nodes.every(({ ackedGeneration }) => ackedGeneration === controller.generation) &&
        controller.gateways?.every(({ ackedGeneration }) => ackedGeneration === controller.generation)
      );
    });
  });
  async function predicted(world: World, { source, destination, request }: Pair): Promise<Explanation> {
    const { target, port = 0 } = findTarget(world.inventory, destination);
    const pod = world.inventory.pods.find((each) => `${each.namespace}/${each.name}` === source);
    return explain(world, { source: pod as MeshPod, target, port, ...(request && { request }) });
  }

  async function tried(pairs: readonly Predicted[]): Promise<Map<number, Outcome>> {
    const bySource = Map.groupBy(pairs, ({ source }) => source);
    const waiting = [...bySource];
    const lines: Outcome[] = [];
    await Promise.all(
      Array.from({ length: SOURCES_AT_ONCE }, async () => {
        for (let next = waiting.pop(); next !== undefined; next = waiting.pop())
          lines.push(...(await triedFrom(...next)));
      }),
    );
    return new Map(lines.map((outcome) => [outcome.id, outcome]));
  }

  async function triedFrom(source: string, pairs: readonly Predicted[]): Promise<Outcome[]> {
    const wanted = pairs.flatMap(({ id, explanation, request, destination }) => {
      const to = parseHostPort(explanation.dialled[0]);
      const [, namespace, name] = /^service\/(\w+)\/([\w-]+):/.exec(destination) ?? [];
      const host = name === undefined ? to?.ip : `${name}.${namespace}.svc.cluster.local`;
      return to === undefined ? [] : [{ id, ...to, ...request, host }];
    });
    const [file, ...args] = inSandbox(pids.get(source) ?? 0, 'TERM', mesh().dir, [
      'node',
      appFile('why-client.mjs'),
    ]);
    const env = { ...meshEnvironment('test'), LOAM_TEST_PATIENCE: String(PATIENCE) };
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    const { stdout, stderr } = await finished(child, JSON.stringify(wanted));
    const outcomes = jsonLines(stdout) as Outcome[];
    assert.equal(outcomes.length, wanted.length, stderr);
    return outcomes;
  }

  /** What is wrong with a prediction; undefined: it was right. */
  function wrong(explanation: Explanation, outcome: Outcome | undefined): string | undefined {
    const { ways } = explanation;
    const [way] = ways;
    if (explanation.outcome === 'depends' || way === undefined) return `it depends: ${JSON.stringify(ways)}`;
    if (outcome === undefined)
      return explanation.dialled.length === 0 && explanation.outcome === 'unreachable'
        ? undefined
        : 'not tried';
    const answered = outcome.status === 200 || outcome.status === 302 || outcome.greeted !== undefined;
    // To be allowed to dial where nobody listens is no answer.
    const listens = ways.every(({ endpoint, address }) => {
      const port = parseHostPort(address)?.port;
      if (endpoint === undefined) return true;
      return SERVERS.includes(endpoint.replace('pod ', '')) && (port === HTTP_PORT || port === GREETING_PORT);
    });
    if (answered !== (explanation.outcome === 'allowed' && listens))
      return `predicted ${explanation.outcome}${listens ? '' : ' to where nobody listens'}, was ${JSON.stringify(outcome)}: ${JSON.stringify(way.steps)}`;
    if (way.status === 403 && outcome.status !== 403)
      return `not the 403 of a waypoint: ${JSON.stringify(outcome)}`;
    const pods = ways.map(({ endpoint }) => endpoint?.replace(/^pod \w+\//, ''));
    if (outcome.pod !== undefined && outcome.status === 200 && !pods.includes(outcome.pod))
      return `predicted ${pods.join(' or ')}, answered ${outcome.pod}`;
    return undefined;
  }

  it(`agrees with ${PAIRS} real connections and requests`, async () => {
    const world = await World.read(reader);
    const pick = dice(20_261_127);
    const sources = world.inventory.pods.map(({ namespace, name }) => `${namespace}/${name}`).sort();
    const destinations = [
      ...Array.from({ length: 4 }, () => `pod/m/far:${GREETING_PORT}`),
      ...sources.flatMap((name) => [`pod/${name}:${HTTP_PORT}`, `pod/${name}:${GREETING_PORT}`]),
      ...[
        'web:80',
        'web:81',
        'web:7000',
        'web:7002',
        'held:80',
        'lost:80',
        'on-four:80',
        'on-six:80',
        'on-both:80',
      ].map((name) => `service/m/${name}`),
      ...[
        'web:80',
        'web:81',
        'held:80',
        'held:80',
        'held:999',
        'on-four:7000',
        'on-six:7000',
        'on-both:7000',
      ].map((name) => `service/m/${name}`),
    ];
    const paths = [
      '/status',
      '/secret',
      '/secret/x',
      '/status?x=/secret',
      '/moved/away',
      '/nowhere',
    ] as const;
    const pairs = await Promise.all(
      Array.from({ length: PAIRS }, async (_, id) => {
        const destination = pick(destinations);
        const isHttp = /:(80|81|8080)$/.test(destination);
        const request = isHttp ? { method: pick(['GET', 'GET', 'POST']), path: pick(paths) } : undefined;
        const pair: Pair = { id, source: pick(sources), destination, ...(request && { request }) };
        return { ...pair, explanation: await predicted(world, pair) };
      }),
    );
    const problemsOf = async (some: readonly Predicted[]): Promise<Map<Predicted, string>> => {
      const outcomes = await tried(some);
      return new Map(
        some.flatMap((pair) => {
          const problem = wrong(pair.explanation, outcomes.get(pair.id));
          return problem === undefined ? [] : [[pair, problem] as const];
        }),
      );
    };
    // A machine that is busy lets a handshake run out of time now and then: what does not agree is tried once more.
    const again = await problemsOf([...(await problemsOf(pairs)).keys()]);
    assert.deepEqual(
      [...again].map(([{ source, destination, request }, problem]) => [
        source,
        destination,
        request,
        problem,
      ]),
      [],
    );
    // All of it was met: rules of each kind, each path, and ways that end otherwise.
    const count = (test: (each: Explanation) => boolean): number =>
      pairs.filter(({ explanation }) => test(explanation)).length;
    const met = {
      allowed: count(({ outcome }) => outcome === 'allowed'),
      denied: count(({ outcome }) => outcome === 'denied'),
      unreachable: count(({ outcome }) => outcome === 'unreachable'),
      waypoint: count(({ ways }) => ways.some(({ hops }) => hops.length > 1)),
      plain: count(({ ways }) => ways.some(({ hops }) => hops[0]?.by === 'plain')),
      route: count(({ ways }) => ways.some(({ route }) => route !== undefined)),
    };
    for (const [what, times] of Object.entries(met))
      assert.ok(times >= 10, `${what}: ${JSON.stringify(met)}`);
    const rules = new Set(pairs.flatMap(({ explanation }) => explanation.ways.map(({ policy }) => policy)));
    for (const rule of ['m/not-from-n', 'm/only-client', 'm/no-secrets', 'm/held-by', 'n/bound'])
      assert.ok(rules.has(rule), `${rule} of ${[...rules].join()}`);
    console.log('      ', JSON.stringify(met));
  });

  it('previews what a policy would cut of what is open, by its rule, and cuts nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'loam-preview-'));
    const file = join(folder, 'no-greeting.yaml');
    writeFileSync(
      file,
      object(
        'AuthorizationPolicy',
        'no-greeting',
        {
          selector: { matchLabels: { app: 'api' } },
          action: 'DENY',
          rules: [{ to: [{ operation: { ports: [String(GREETING_PORT)] } }] }],
        },
        { namespace: 'n' },
      ),
    );
    const { ip } = await mesh().pod('n/api');
    const hold = `const s = require('node:net').connect(${GREETING_PORT}, '${ip}');
      s.on('data', (part) => process.stdout.write(part)); process.stdin.pipe(s);`;
    const open = await mesh().spawn('m/client', 'node', '-e', hold);
    try {
      let said = '';
      open.stdout?.on('data', (part: Buffer) => (said += part.toString()));
      await eventually('the server to greet', () => Promise.resolve(said.includes('HELLO')));
      const { code, stdout, stderr } = await finished(
        loam('policy', 'preview', file, '--for', '1', '-o', 'json', '--name', mesh().name),
      );
      assert.equal(code, 3, `${stdout}${stderr}`);
      const { cut, opened } = JSON.parse(stdout) as Preview;
      const mine = cut.filter(({ from, to }) => from === 'm/client' && to.includes('n/api'));
      assert.deepEqual(
        mine.map(({ before, after, policy }) => [before, after, policy]),
        [['allowed', 'denied', 'n/no-greeting']],
        stdout,
      );
      assert.deepEqual(opened, []);
      open.stdin?.write('still here');
      await eventually('it to answer still', () => Promise.resolve(said.includes('still here')));
      const { controller } = await mesh().status();
      assert.ok(!controller?.objects.some(({ name }) => name === 'no-greeting'), 'it is in force nowhere');
    } finally {
      open.kill();
      rmSync(folder, { recursive: true });
    }
  });

  it('tells it to people and to scripts', async () => {
    const run = async (...args: string[]) => finished(loam('why', ...args, '--name', mesh().name));
    const allowed = await run('m/client', 'web:81', 'GET', '/status');
    assert.equal(allowed.code, 0, allowed.stderr);
    assert.match(allowed.stdout, /^ALLOWED {2}m\/client → Service m\/web port 81 GET \/status$/m);
    assert.match(allowed.stdout, /HBONE to waypoint m\/way, then HBONE to pod m\/v1/);
    assert.match(allowed.stdout, /m\/client +enrolled; entry of generation \d+ for 198\.18\./);
    const denied = await run('n/bound', 'pod/m/far:8080', '-o', 'json');
    assert.equal(denied.code, 3, denied.stderr);
    const { outcome, ways } = JSON.parse(denied.stdout) as Explanation;
    assert.deepEqual([outcome, ways[0]?.policy, ways[0]?.hops], ['denied', 'n/bound', []]);
    const unknown = await run('m/nobody', 'web:80');
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /^loam: there is no pod "m\/nobody"; there are: .*m\/client/);
  });
});
