import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Finding } from '../../../../../cli/install/check/finding.ts';
import { objectPath } from '../../../../../cli/install/cluster/kinds.ts';
import type { Manifest } from '../../../../../cli/install/render/manifest.ts';
import { DENY, EGRESS, UNTIL_ANNOTATION } from '../../../../../cli/install/verify/objects.ts';
import type { VerifyApi } from '../../../../../cli/install/verify/run.ts';
import { verify } from '../../../../../cli/install/verify/verify.ts';

const IPS: Readonly<Record<string, string>> = {
  client: '10.0.0.1',
  server: '10.0.0.2',
  outsider: '10.0.0.3',
};
const READY = { conditions: [{ type: 'Ready', status: 'True' }] };

/** A cluster with a mesh that does what it should, unless a test says otherwise. */
class FakeMesh {
  readonly objects = new Map<string, Manifest & { metadata: { annotations?: Record<string, string> } }>();
  readonly told: Finding[] = [];
  readonly stop = new AbortController();
  nodes = ['node1', 'node2'];
  hasTunnel = true;
  followsPolicies = true;
  egressInUse = false;
  onApply: (object: Manifest) => void = () => undefined;
  #probes = 0;

  run(): Promise<boolean> {
    return verify({
      api: this.#api(),
      pods: {
        run: (namespace, pod, container, command) =>
          Promise.resolve(JSON.stringify(this.#answer(namespace, pod, container, command.at(-1) ?? ''))),
      },
      installed: {
        namespace: 'loam-system',
        by: 'loam',
        version: '1',
        values: { image: 'loam', trustDomain: 'cluster.local' },
      },
      timeoutMs: 30,
      signal: this.stop.signal,
      tell: (finding) => this.told.push(finding),
    });
  }

  /** States by what was looked at. */
  get states(): Record<string, string> {
    return Object.fromEntries(this.told.map(({ what, state }) => [what, state]));
  }

  namespaces(): string[] {
    return [...this.objects.values()].flatMap(({ kind, metadata }) =>
      kind === 'Namespace' ? [metadata.name] : [],
    );
  }

  #has(kind: string, name: string, field = ''): boolean {
    const found = [...this.objects.values()].find(
      (each) => each.kind === kind && each.metadata.name === name,
    );
    return found !== undefined && JSON.stringify(found).includes(field) && this.followsPolicies;
  }

  #api(): VerifyApi {
    const podOf = (name: string, node: string): object => ({
      metadata: { name },
      spec: { nodeName: node },
      status: { ...READY, phase: 'Running', podIP: IPS[name] },
    });
    return {
      apply: (path, body) => {
        this.onApply(body as Manifest);
        this.objects.set(path, body as Manifest);
        return Promise.resolve({ metadata: { name: '', uid: '' } });
      },
      create: () => Promise.reject(new Error('nothing is created')),
      delete: (path) => {
        for (const [at, { metadata }] of this.objects)
          if (at === path || path.endsWith(`/namespaces/${metadata.namespace ?? ''}`))
            this.objects.delete(at);
        return Promise.resolve(true);
      },
      find: <T>(path: string) => {
        const object = this.objects.get(path);
        const name = object?.metadata.name ?? '';
        if (object?.kind !== 'Pod') return Promise.resolve(object as T | undefined);
        const node = /"values":\["(\w+)"\]/.exec(JSON.stringify(object))?.[1] ?? '';
        return Promise.resolve(podOf(name, node) as T);
      },
      list: <T>(path: string, query: Readonly<Record<string, string>> = {}) => {
        const list = (): unknown[] => {
          if (path.endsWith('/nodes')) return this.nodes.map((name) => ({ metadata: { name } }));
          if (path.endsWith('/namespaces'))
            return [...this.objects.values()].filter(({ kind }) => kind === 'Namespace');
          if (path.endsWith('/egresspolicies')) return this.egressInUse ? [{}] : [];
          if (!path.endsWith('/pods')) return [];
          const program = /loam-\w+/.exec(query['labelSelector'] ?? '')?.[0] ?? '';
          return this.nodes.map((node) => podOf(`${program}-${node}`, node));
        };
        return Promise.resolve(list() as T[]);
      },
      text: () => {
        const line = (policy: string): string => `${JSON.stringify({ scope: 'access', policy })}\n`;
        return Promise.resolve(`no JSON\n${line(`x/${DENY}`)}${line(`x/${EGRESS}`)}`);
      },
    };
  }

  #answer(namespace: string, pod: string, container: string, code: string): unknown {
    if (container === 'ztunnel') return { connections: this.hasTunnel ? connections(namespace, this) : [] };
    if (code.includes('function lookUp')) return { addresses: ['10.96.0.9'] };
    if (code.includes('function show'))
      return { remote: '127.0.0.1', probes: (this.#probes += 1), route: null };
    const refused =
      (pod === 'outsider' && this.#has('PeerAuthentication', 'mode', 'STRICT')) ||
      (pod === 'client' && (this.#has('AuthorizationPolicy', DENY) || code.includes(IPS['outsider'] ?? '')));
    if (refused) return { kind: 'failed', error: 'read ECONNRESET' };
    return { kind: 'served', status: 200, by: { remote: IPS[pod], probes: 0, route: null } };
  }
}

/** As both ztunnels list the connection of client and server. */
function connections(_: string, mesh: FakeMesh): object[] {
  const [ns = ''] = mesh.namespaces();
  const end = (role: string): object => ({
    address: `${IPS[role]}:8080`,
    identity: `spiffe://cluster.local/ns/${ns}/sa/${role}`,
  });
  const hboneAddress = `${IPS['server']}:15008`;
  return ['inbound', 'outbound'].map((direction) => ({
    direction,
    source: end('client'),
    destination: { ...end('server'), ...(direction === 'outbound' ? { hboneAddress } : {}) },
  }));
}

describe('loam verify', () => {
  it('passes a mesh that does what it should, says what it saw, and leaves nothing', async () => {
    const mesh = new FakeMesh();
    assert.equal(await mesh.run(), true, JSON.stringify(mesh.told, null, 1));
    const passed = [
      'pods',
      'mutual TLS',
      'address',
      'DNS',
      'Service',
      'itself',
      'PERMISSIVE',
      'STRICT',
      'probes',
    ];
    assert.deepEqual(mesh.states, {
      ...Object.fromEntries([...passed, 'deny policy'].map((what) => [what, 'pass'])),
      waypoint: 'note',
      'egress policy': 'note',
    });
    assert.match(JSON.stringify(mesh.told), /from node1 to node2, by HBONE: .*sa\/client ⇄ .*sa\/server/);
    assert.equal(mesh.objects.size, 0);
  });

  it('looks at egress policies where somebody has one', async () => {
    const mesh = new FakeMesh();
    mesh.egressInUse = true;
    assert.equal(await mesh.run(), true, JSON.stringify(mesh.told, null, 1));
    assert.equal(mesh.states['egress policy'], 'pass');
  });

  it('works with one node, and says what that does not show', async () => {
    const mesh = new FakeMesh();
    mesh.nodes = ['node1'];
    assert.equal(await mesh.run(), true);
    assert.equal(mesh.states['nodes'], 'note');
  });

  it('fails where what two pods say goes by in plaintext', async () => {
    const mesh = new FakeMesh();
    mesh.hasTunnel = false;
    assert.equal(await mesh.run(), false);
    const failed = mesh.told.filter(({ state }) => state === 'fail');
    assert.deepEqual(
      failed.map(({ what }) => what),
      ['mutual TLS'],
    );
    assert.match(failed[0]?.text ?? '', /went by in plaintext/);
    assert.match(failed[0]?.mend ?? '', /loam check/);
  });

  it('fails where policies are not in force', async () => {
    const mesh = new FakeMesh();
    mesh.followsPolicies = false;
    assert.equal(await mesh.run(), false);
    assert.deepEqual([mesh.states['STRICT'], mesh.states['deny policy']], ['fail', 'fail']);
    assert.equal(mesh.objects.size, 0);
  });

  it('removes what it made when it is interrupted', async () => {
    const mesh = new FakeMesh();
    mesh.onApply = ({ kind }) => {
      if (kind === 'Service') mesh.stop.abort();
    };
    await assert.rejects(mesh.run(), /interrupted/);
    assert.equal(mesh.objects.size, 0);
  });

  it('cannot begin without a node, and makes nothing then', async () => {
    const mesh = new FakeMesh();
    mesh.nodes = [];
    await assert.rejects(mesh.run(), /no node with an agent that is ready takes pods/);
    assert.equal(mesh.objects.size, 0);
  });

  it('removes what a killed run left, and leaves another run alone', async () => {
    const mesh = new FakeMesh();
    for (const [name, at] of [
      ['old', Date.now() - 1000],
      ['other', Date.now() + 60_000],
    ] as const) {
      const annotations = { [UNTIL_ANNOTATION]: new Date(at).toISOString() };
      const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations } };
      mesh.objects.set(objectPath(object), object);
    }
    mesh.stop.abort();
    await assert.rejects(mesh.run(), /interrupted/);
    assert.deepEqual(mesh.namespaces(), ['other']);
    assert.equal(mesh.states['rests'], 'note');
  });
});
