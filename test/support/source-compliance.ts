import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { compileMesh } from '../../controller/compile/mesh.ts';
import { type KubeObject, objectKey, refOf } from '../../controller/model/objects.ts';
import { type Assignments, NO_ASSIGNMENTS } from '../../controller/sources/assignments.ts';
import type { AcceptedObject, Problem, Source } from '../../controller/sources/source.ts';
import { until } from '../unit/lib/kubernetes/until.ts';

/** An object as a person writes it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

/** A source with the means to change what it reads. */
export interface SourceBench extends AsyncDisposable {
  readonly source: Source;
  readonly assignments: () => Assignments;
  put(object: Manifest): Promise<void>;
  remove(object: Manifest): Promise<void>;
}

export const MESH = { rootNamespace: 'loam-system', trustDomain: 'cluster.local' };

export function namespace(name: string, labels: Readonly<Record<string, string>> = AMBIENT): Manifest {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

const AMBIENT = { 'loam.dev/dataplane-mode': 'ambient' };

export function account(ns: string, name: string): Manifest {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: ns } };
}

export function pod(ns: string, name: string, app: string, ip: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: ns, labels: { app } },
    spec: {
      nodeName: 'node-a',
      serviceAccountName: app,
      containers: [{ name: 'main', image: 'any', ports: [{ name: 'web', containerPort: 8080 }] }],
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

export function service(ns: string, name: string, clusterIP: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: ns },
    spec: {
      clusterIP,
      clusterIPs: [clusterIP],
      selector: { app: name },
      ports: [{ name: 'http', port: 80, targetPort: 'web' }],
    },
  };
}

/** Where a Service is, written by hand. */
export function slice(ns: string, of: string, addresses: readonly string[], ready = true): Manifest {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${of}-by-hand`, namespace: ns, labels: { 'kubernetes.io/service-name': of } },
    addressType: 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready } })),
    ports: [{ name: 'http', port: 8443 }],
  };
}

export function node(name: string, { region, zone }: { region: string; zone: string }): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { 'topology.kubernetes.io/region': region, 'topology.kubernetes.io/zone': zone },
    },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] },
  };
}

export function policy(ns: string, principal: string, more: object = {}): Manifest {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'only-frontend', namespace: ns },
    spec: {
      selector: { matchLabels: { app: 'payments' } },
      action: 'DENY',
      rules: [{ from: [{ source: { notPrincipals: [principal] } }] }],
      ...more,
    },
  };
}

/** A shop as all scenarios begin with it. */
function shop(ns: string, net: number): Manifest[] {
  return [
    namespace(ns),
    account(ns, 'frontend'),
    account(ns, 'payments'),
    service(ns, 'payments', `198.19.${net}.5`),
    pod(ns, 'frontend-0', 'frontend', `198.18.${net}.2`),
    pod(ns, 'payments-0', 'payments', `198.18.${net}.3`),
  ];
}

/** What the compiler makes of one namespace: names and bytes. */
export function compiledOf(objects: Iterable<KubeObject>, assignments: Assignments, ns: string): object {
  const mesh = compileMesh({ objects, assignments, clusterId: 'Kubernetes', ...MESH });
  const of = (resources: ReadonlyMap<string, { readonly bytes: Uint8Array }>): [string, string][] =>
    [...resources]
      .filter(([name]) => name.includes(`${ns}/`))
      .map(([name, { bytes }]): [string, string] => [name, Buffer.from(bytes).toString('base64')])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  return { addresses: of(mesh.addresses), authorizations: of(mesh.authorizations) };
}

/**
 * What every source of objects must do, whatever it reads: run against the directory and the Kubernetes API.
 *
 * @param open a source that has been started
 */
export function describeCompliance(title: string, open: () => Promise<SourceBench>): void {
  describe(title, () => {
    async function begin(ns: string, net: number, ...more: Manifest[]): Promise<Scenario> {
      const scenario = new Scenario(await open(), ns);
      for (const object of [...shop(ns, net), ...more]) await scenario.put(object);
      await scenario.comesTo([...shop(ns, net), ...more]);
      return scenario;
    }

    it('compiles what is added, to the same bytes as the objects themselves', async () => {
      await using scenario = await begin('c-add', 11, policy('c-add', 'cluster.local/ns/c-add/sa/frontend'));
      assert.deepEqual(scenario.errors(), []);
    });

    it('follows edits, of policies and of pods', async () => {
      const ns = 'c-edit';
      await using scenario = await begin(ns, 12, policy(ns, 'one'));
      const moved = pod(ns, 'payments-0', 'payments', '198.18.12.3');
      const objects = shop(ns, 12).map((each) =>
        each.metadata.name === 'payments-0'
          ? { ...moved, metadata: { ...moved.metadata, labels: { app: 'payments', version: 'v2' } } }
          : each,
      );
      for (const each of objects) if (each.metadata.name === 'payments-0') await scenario.put(each);
      await scenario.put(policy(ns, 'two'));
      await scenario.comesTo([...objects, policy(ns, 'two')]);
    });

    it('keeps the last good state of a policy that is broken, until it is mended', async () => {
      const ns = 'c-break';
      await using scenario = await begin(ns, 13, policy(ns, 'one'));
      await scenario.put(policy(ns, 'two', { rules: [{ form: [{ source: { notPrincipals: ['two'] } }] }] }));
      await until(() => scenario.policy()?.lastGood === true);
      const [error] = scenario.errors();
      assert.equal(error?.field, 'spec.rules[0].form');
      assert.match(error?.message ?? '', /did you mean "from"/);
      await scenario.comesTo([...shop(ns, 13), policy(ns, 'one')]);
      await scenario.put(policy(ns, 'three'));
      await scenario.comesTo([...shop(ns, 13), policy(ns, 'three')]);
      assert.equal(scenario.policy()?.lastGood, false);
      assert.deepEqual(scenario.errors(), []);
    });

    it('forgets what is deleted, also where it was broken', async () => {
      const ns = 'c-delete';
      await using scenario = await begin(ns, 14, policy(ns, 'one'));
      await scenario.remove(policy(ns, 'one'));
      await scenario.comesTo(shop(ns, 14));
      await scenario.put(policy(ns, 'one'));
      await scenario.comesTo([...shop(ns, 14), policy(ns, 'one')]);
      await scenario.put(policy(ns, 'one', { speck: 1 }));
      await until(() => scenario.policy()?.lastGood === true);
      await scenario.remove(policy(ns, 'one'));
      await scenario.remove(pod(ns, 'frontend-0', 'frontend', ''));
      await scenario.comesTo(shop(ns, 14).filter(({ metadata }) => metadata.name !== 'frontend-0'));
      assert.deepEqual(scenario.errors(), []);
    });

    it("enrols by a namespace's label, and by a pod's", async () => {
      const ns = 'c-label';
      await using scenario = await begin(ns, 15);
      const [, ...rest] = shop(ns, 15);
      await scenario.put(namespace(ns, { team: 'x' }));
      await scenario.comesTo([namespace(ns, { team: 'x' }), ...rest]);
      await scenario.put(namespace(ns));
      await scenario.comesTo(shop(ns, 15));
    });

    it('puts something strict in the place of an egress policy that was never right', async () => {
      const ns = 'c-strict';
      await using scenario = await begin(ns, 16);
      const egress: Manifest = {
        apiVersion: 'loam.dev/v1',
        kind: 'EgressPolicy',
        // What an API server admits and Loam does not know.
        metadata: { name: 'front', namespace: ns, labels: { 'loam.dev/dataplan-mode': 'ambient' } },
        spec: {
          selector: { matchLabels: { app: 'frontend' } },
          allow: [{ services: [{ name: 'payments' }] }],
        },
      };
      await scenario.put(egress);
      await until(() => scenario.find('EgressPolicy', 'front')?.standIn !== undefined);
      const found = scenario.find('EgressPolicy', 'front')?.object;
      assert(found?.kind === 'EgressPolicy');
      assert.deepEqual(found.spec, { selector: { matchLabels: { app: 'frontend' } }, allow: [] });
      assert.match(scenario.errors()[0]?.message ?? '', /unknown label/);
      await scenario.put({ ...egress, metadata: { name: 'front', namespace: ns } });
      await until(() => {
        const mended = scenario.find('EgressPolicy', 'front');
        return mended !== undefined && mended.standIn === undefined;
      });
    });

    it('reads a Telemetry, says what is wrong with one, and keeps the former meanwhile', async () => {
      const ns = 'c-tele';
      await using scenario = await begin(ns, 18);
      const telemetry = (expression: string): Manifest => ({
        apiVersion: 'telemetry.istio.io/v1',
        kind: 'Telemetry',
        metadata: { name: 'quiet', namespace: ns },
        spec: { accessLogging: [{ providers: [{ name: 'text' }], filter: { expression } }] },
      });
      const expressionOf = (): string | undefined => {
        const found = scenario.find('Telemetry', 'quiet')?.object;
        return found?.kind === 'Telemetry' ? found.spec?.accessLogging?.[0]?.filter?.expression : undefined;
      };
      await scenario.put(telemetry('response.code >= 400'));
      await until(() => expressionOf() === 'response.code >= 400');
      await scenario.put(telemetry('response.cod >= 400'));
      await until(() => scenario.errors().length > 0);
      const [error] = scenario.errors();
      assert.equal(error?.field, 'spec.accessLogging[0].filter.expression');
      assert.match(error.message, /"response.cod" is no attribute; did you mean "response.code"\?/);
      assert.equal(expressionOf(), 'response.code >= 400');
      await scenario.put(telemetry('response.code >= 500'));
      await until(() => expressionOf() === 'response.code >= 500' && scenario.errors().length === 0);
      await scenario.remove(telemetry('response.code >= 500'));
      await until(() => scenario.find('Telemetry', 'quiet') === undefined);
    });

    it('says what a policy is attached to that does not exist, and puts it in force when it comes', async () => {
      const ns = 'c-missing';
      await using scenario = await begin(ns, 17);
      const late = service(ns, 'late', '198.19.17.9');
      const attached: Manifest = {
        ...policy(ns, 'one'),
        spec: { targetRefs: [{ kind: 'Service', group: '', name: 'late' }], rules: [] },
      };
      await scenario.put(attached);
      await until(() => scenario.errors().length > 0);
      assert.match(scenario.errors()[0]?.message ?? '', /there is no Service "late" in namespace c-missing/);
      assert.equal(scenario.policy(), undefined);
      await scenario.put(late);
      await scenario.comesTo([...shop(ns, 17), late, attached]);
      // It was in force, so it stays: rather a rule too long than an open mesh.
      await scenario.remove(late);
      await until(() => scenario.errors().length > 0);
      assert.equal(scenario.policy()?.lastGood, true);
    });

    it('follows the endpoints of a Service without a selector, and the zones of nodes', async () => {
      const ns = 'c-slice';
      await using scenario = await begin(ns, 19);
      const bare = service(ns, 'outside', '198.19.19.9');
      const outside = { ...bare, spec: { ...bare.spec, selector: {} } };
      const objects = [...shop(ns, 19), outside, slice(ns, 'outside', ['192.0.2.7', '198.18.19.3'])];
      for (const each of objects.slice(-2)) await scenario.put(each);
      await scenario.comesTo(objects);
      const moved = slice(ns, 'outside', ['192.0.2.8', '192.0.2.9'], false);
      await scenario.put(moved);
      await scenario.comesTo([...objects.slice(0, -1), moved]);
      const where = node('node-a', { region: 'north', zone: 'north-1' });
      await scenario.put(where);
      await scenario.comesTo([...objects.slice(0, -1), moved, where]);
      await scenario.remove(moved);
      await scenario.comesTo([...objects.slice(0, -1), where]);
      assert.deepEqual(scenario.errors(), []);
    });

    it('follows a ServiceEntry, and keeps its last good state', async () => {
      const ns = 'c-entry';
      await using scenario = await begin(ns, 20);
      const outside = (address: string, more: object = {}): Manifest => ({
        apiVersion: 'networking.istio.io/v1',
        kind: 'ServiceEntry',
        metadata: { name: 'outside', namespace: ns },
        spec: {
          hosts: ['outside.example'],
          addresses: ['192.0.2.77'],
          ports: [{ number: 443, name: 'tls' }],
          resolution: 'STATIC',
          endpoints: [{ address }],
          ...more,
        },
      });
      await scenario.put(outside('192.0.2.10'));
      await scenario.comesTo([...shop(ns, 20), outside('192.0.2.10')]);
      await scenario.put(outside('198.18.20.3'));
      await scenario.comesTo([...shop(ns, 20), outside('198.18.20.3')]);
      await scenario.put(outside('192.0.2.10', { resolution: 'NONE' }));
      await until(() => scenario.find('ServiceEntry', 'outside')?.lastGood === true);
      assert.equal(scenario.errors()[0]?.field, 'spec.endpoints');
      await scenario.comesTo([...shop(ns, 20), outside('198.18.20.3')]);
      await scenario.remove(outside(''));
      await scenario.comesTo(shop(ns, 20));
    });

    it('leaves everything else in force while one route is broken', async () => {
      const ns = 'c-route';
      await using scenario = await begin(ns, 18, policy(ns, 'one'));
      const route = (labels: Readonly<Record<string, string>>): Manifest => ({
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'HTTPRoute',
        metadata: { name: 'split', namespace: ns, labels },
        spec: {
          parentRefs: [{ group: '', kind: 'Service', name: 'payments', port: 80 }],
          rules: [{ backendRefs: [{ name: 'payments', port: 80 }] }],
        },
      });
      await scenario.put(route({ 'loam.dev/usewaypoint': 'x' }));
      await until(() => scenario.errors().length === 1);
      assert.equal(scenario.errors()[0]?.field, 'metadata.labels["loam.dev/usewaypoint"]');
      assert.equal(scenario.find('HTTPRoute', 'split'), undefined);
      await scenario.comesTo([...shop(ns, 18), policy(ns, 'one')]);
      await scenario.put(route({}));
      await until(() => scenario.find('HTTPRoute', 'split')?.lastGood === false);
      assert.deepEqual(scenario.errors(), []);
    });
  });
}

/** One namespace in a source. What it made is taken away at its end. */
class Scenario implements AsyncDisposable {
  readonly #bench: SourceBench;
  readonly #ns: string;
  readonly #made = new Map<string, Manifest>();

  constructor(bench: SourceBench, ns: string) {
    this.#bench = bench;
    this.#ns = ns;
  }

  async put(object: Manifest): Promise<void> {
    this.#made.set(keyOf(object), object);
    await this.#bench.put(object);
  }

  async remove(object: Manifest): Promise<void> {
    this.#made.delete(keyOf(object));
    await this.#bench.remove(object);
  }

  /** Waits until the compiler makes of the source's objects what it makes of these. */
  async comesTo(objects: readonly Manifest[]): Promise<void> {
    const wanted = JSON.stringify(compiledOf(objects as unknown as KubeObject[], NO_ASSIGNMENTS, this.#ns));
    const now = (): object => {
      const all = [...this.#bench.source.current.objects.values()].map(({ object }) => object);
      return compiledOf(all, this.#bench.assignments(), this.#ns);
    };
    try {
      await until(() => JSON.stringify(now()) === wanted);
    } catch {
      assert.deepEqual(now(), JSON.parse(wanted));
    }
  }

  find(kind: string, name: string): AcceptedObject | undefined {
    return this.#bench.source.current.objects.get(objectKey({ kind, namespace: this.#ns, name }));
  }

  policy(): AcceptedObject | undefined {
    return this.find('AuthorizationPolicy', 'only-frontend');
  }

  errors(): Problem[] {
    return this.#bench.source.current.problems.filter(
      ({ severity, object }) => severity === 'error' && object?.namespace === this.#ns,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Pods before their accounts, and the namespace last.
    for (const object of [...this.#made.values()].reverse()) await this.#bench.remove(object);
    await this.#bench[Symbol.asyncDispose]();
  }
}

export function keyOf(object: Manifest): string {
  return objectKey(refOf(object as unknown as KubeObject));
}
