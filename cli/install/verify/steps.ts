/** What a verification looks at, one after the other; each leaves the next a mesh in which its own traffic passes. */
import { fail, note, pass, type Finding } from '../check/finding.ts';
import { collectionPath, objectPath } from '../cluster/kinds.ts';
import type { Manifest } from '../render/manifest.ts';
import { WAYPOINT_CLASS } from '../render/manifest.ts';
import {
  allowAll,
  DENY,
  denyClient,
  EGRESS,
  egressPolicy,
  peerAuthentication,
  route,
  SERVER_PORT,
  service,
  SERVICE_PORT,
  waypoint,
  WAYPOINT,
} from './objects.ts';
import type { Dialled, Served } from './pod-scripts.ts';
import { dialledText, type Placed, type VerifyRun } from './run.ts';

/** Long enough for two ztunnels to be asked while a connection is open. */
const HOLD_MS = 20_000;

export interface Scene {
  readonly run: VerifyRun;
  readonly client: Placed;
  readonly server: Placed;
  readonly outsider: Placed;
  readonly trustDomain: string;
}

/** @returns one line or several */
export type Step = (scene: Scene) => Promise<Finding[]>;

export const STEPS: readonly Step[] = [mutualTls, names, itself, plaintext, strict, deny, atWaypoint, egress];

function at(ip: string, port: number): string {
  return `http://${ip.includes(':') ? `[${ip}]` : ip}:${port}/`;
}

const isServed = (seen: Dialled): seen is Dialled & { by: Served } =>
  seen.kind === 'served' && seen.by !== undefined;
const isRefused = (seen: Dialled): boolean => seen.kind === 'failed';

function checkMend({ client, server }: Scene): string {
  return `loam check; kubectl logs of the ztunnels on ${client.node} and ${server.node}`;
}

/** From pod to pod: what the server saw, and what the ztunnels of both ends say of the same connection while it is open. */
async function mutualTls(scene: Scene): Promise<Finding[]> {
  const { run, client, server, trustDomain } = scene;
  const url = at(server.ip, SERVER_PORT);
  const first = await run.dialUntil('client', url, isServed);
  if (!isServed(first))
    return [
      fail(
        'mutual TLS',
        `the client cannot reach the server at ${server.ip}: ${dialledText(first)}`,
        checkMend(scene),
      ),
    ];
  const findings = [addressFinding('address', first.by, client, scene)];
  const held = run.dial('client', url, HOLD_MS);
  const isOurs = (address: string, ip: string): boolean =>
    address.startsWith(`${ip}:`) || address.startsWith(`[${ip}]:`);
  const [out, into] = await run.until(
    async () => {
      const [outbound, inbound] = await Promise.all([
        run.connectionsOn(client.node),
        run.connectionsOn(server.node),
      ]);
      return [
        outbound.find(
          ({ direction, source, destination }) =>
            direction === 'outbound' &&
            isOurs(source.address, client.ip) &&
            isOurs(destination.address, server.ip),
        ),
        inbound.find(
          ({ direction, source, destination }) =>
            direction === 'inbound' &&
            isOurs(source.address, client.ip) &&
            isOurs(destination.address, server.ip),
        ),
      ] as const;
    },
    ([outbound, inbound]) => outbound !== undefined && inbound !== undefined,
  );
  await held.catch(() => undefined);
  const identity = (role: string): string => `spiffe://${trustDomain}/ns/${run.namespace}/sa/${role}`;
  const wanted = [identity('client'), identity('server')];
  const proved = [into?.source.identity, out?.destination.identity];
  const isTunnel = out?.destination.hboneAddress !== undefined;
  const places = client.node === server.node ? `on ${client.node}` : `from ${client.node} to ${server.node}`;
  if (isTunnel && proved.every((each, index) => each === wanted[index]))
    findings.unshift(pass('mutual TLS', `${places}, by HBONE: ${wanted.join(' ⇄ ')}, as both ztunnels say`));
  else
    findings.unshift(
      fail(
        'mutual TLS',
        out === undefined && into === undefined
          ? `no ztunnel had the connection ${places}: it went by in plaintext`
          : `${places} the client proved ${proved[0] ?? 'no identity'}, the server ${proved[1] ?? 'none'}${isTunnel ? '' : ', and it was no HBONE'}; expected ${wanted.join(' and ')}`,
        checkMend(scene),
      ),
    );
  return findings;
}

function addressFinding(what: string, { remote }: Served, client: Placed, scene: Scene): Finding {
  return remote === client.ip
    ? pass(what, `the server saw ${remote}, the client's own address`)
    : fail(what, `the server saw ${remote} in place of the client's ${client.ip}`, checkMend(scene));
}

async function names(scene: Scene): Promise<Finding[]> {
  const { run, client } = scene;
  const name = `server.${run.namespace}.svc`;
  const found = await run.until(
    () => run.lookUp('client', name),
    ({ addresses }) => addresses !== undefined,
  );
  const dns =
    found.addresses === undefined
      ? fail(
          'DNS',
          `the client cannot look up ${name}: ${found.error ?? ''}`,
          'see the cluster DNS: kubectl get pods --namespace kube-system',
        )
      : pass('DNS', `${name} is ${found.addresses.join(', ')}`);
  const seen = await run.dialUntil('client', `http://${name}:${SERVICE_PORT}/`, isServed);
  if (!isServed(seen))
    return [dns, fail('Service', `the client cannot reach ${name}: ${dialledText(seen)}`, checkMend(scene))];
  return [dns, addressFinding('Service', seen.by, client, scene)];
}

async function itself(scene: Scene): Promise<Finding[]> {
  const { run } = scene;
  const seen = await run.dialUntil('server', `http://server.${run.namespace}.svc:${SERVICE_PORT}/`, isServed);
  return [
    isServed(seen)
      ? pass('itself', 'a pod reaches itself by its Service')
      : fail('itself', `a pod does not reach itself by its Service: ${dialledText(seen)}`, checkMend(scene)),
  ];
}

/** What comes in plaintext is answered before STRICT; otherwise a refusal later would prove nothing. */
async function plaintext(scene: Scene): Promise<Finding[]> {
  const { run, server } = scene;
  const seen = await run.dialUntil('outsider', at(server.ip, SERVER_PORT), isServed);
  return [
    isServed(seen)
      ? pass('PERMISSIVE', `a pod outside of the mesh reaches the server, which saw ${seen.by.remote}`)
      : fail(
          'PERMISSIVE',
          `a pod outside of the mesh does not reach the server: ${dialledText(seen)}`,
          checkMend(scene),
        ),
  ];
}

async function strict(scene: Scene): Promise<Finding[]> {
  const { run, server } = scene;
  const page = `http://127.0.0.1:${SERVER_PORT}/`;
  await run.apply(peerAuthentication(run.namespace, 'STRICT'));
  const seen = await run.dialUntil('outsider', at(server.ip, SERVER_PORT), isRefused);
  const findings = [
    isRefused(seen)
      ? pass('STRICT', `the same pod is refused: ${dialledText(seen)}`)
      : fail(
          'STRICT',
          'a pod outside of the mesh is answered in plaintext',
          'loam check; kubectl get peerauthentications --all-namespaces',
        ),
  ];
  const count = async (): Promise<number> => ((await run.show('server', page)) as Served).probes;
  const before = await count();
  const after = await run.until(count, (now) => now >= before + 2);
  findings.push(
    after >= before + 2
      ? pass('probes', "the kubelet's are answered under STRICT")
      : fail(
          'probes',
          "the kubelet's do not arrive under STRICT",
          `loam check; does the agent on ${server.node} know the kubelet?`,
        ),
  );
  return findings;
}

async function deny(scene: Scene): Promise<Finding[]> {
  const { run, server, client } = scene;
  const began = new Date();
  await run.apply(denyClient(run.namespace));
  const url = at(server.ip, SERVER_PORT);
  const seen = await run.dialUntil('client', url, isRefused);
  const what = 'deny policy';
  let finding: Finding;
  if (!isRefused(seen))
    finding = fail(
      what,
      'an AuthorizationPolicy of action DENY is not in force',
      'loam check; kubectl get authorizationpolicies -o yaml: its status',
    );
  else {
    const named = await run.until(
      () => run.accessLog(server.node, began),
      (lines) => lines.some(({ policy }) => String(policy).includes(DENY)),
    );
    const line = named.find(({ policy }) => String(policy).includes(DENY));
    finding =
      line === undefined
        ? note(
            what,
            `the client is refused (${dialledText(seen)}); the log of the ztunnel on ${server.node} does not say by what, as with logLevel error`,
          )
        : pass(
            what,
            `the client is refused (${dialledText(seen)}), by ${String(line['policy'])}, as the ztunnel on ${server.node} says`,
          );
  }
  await run.remove(denyClient(run.namespace));
  const again = await run.dialUntil('client', url, isServed);
  if (isServed(again)) return [finding];
  return [
    finding,
    fail(
      what,
      `without it the client is still refused: ${dialledText(again)}`,
      checkMend({ ...scene, client }),
    ),
  ];
}

interface GatewayObject {
  readonly spec?: { readonly gatewayClassName?: string };
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
}

/** Where somebody has one: a waypoint of the run's own, before the Service, with a route that marks requests. */
async function atWaypoint(scene: Scene): Promise<Finding[]> {
  const { run } = scene;
  const wanted = waypoint(run.namespace);
  const gateways = await run.api.list<GatewayObject>(collectionPath('gateway.networking.k8s.io/v1/Gateway'));
  const used = gateways.some(({ spec }) => spec?.gatewayClassName === WAYPOINT_CLASS);
  if (!used) return [note('waypoint', 'none is in use')];
  await run.apply(wanted);
  const programmed = (gateway: GatewayObject | undefined): { status: string; message?: string } | undefined =>
    gateway?.status?.conditions?.find(({ type }) => type === 'Programmed');
  const made = programmed(
    await run.until(
      () => run.api.find<GatewayObject>(objectPath(wanted)),
      (seen) => programmed(seen)?.status === 'True',
    ),
  );
  if (made?.status !== 'True')
    return [
      fail(
        'waypoint',
        `is not there: ${made?.message ?? 'its Gateway has no status'}`,
        'loam check; kubectl get gateways --all-namespaces',
      ),
    ];
  await run.apply(service(run.namespace, { 'loam.dev/use-waypoint': WAYPOINT }));
  await run.apply(route(run.namespace));
  const url = `http://server.${run.namespace}.svc:${SERVICE_PORT}/`;
  const seen = await run.dialUntil(
    'client',
    url,
    (each) => isServed(each) && each.by.route === run.namespace,
  );
  const isRouted = isServed(seen) && seen.by.route === run.namespace;
  await run.apply(service(run.namespace, { 'loam.dev/use-waypoint': 'none' }));
  return [
    isRouted
      ? pass('waypoint', 'a request passed through one, whose HTTPRoute marked it')
      : fail(
          'waypoint',
          `a request did not pass through one: ${dialledText(seen)}`,
          `loam check; kubectl get httproutes --all-namespaces -o yaml: their status`,
        ),
  ];
}

async function egress(scene: Scene): Promise<Finding[]> {
  const { run, client, outsider } = scene;
  const what = 'egress policy';
  const policies = await run.api.list(collectionPath('loam.dev/v1/EgressPolicy'));
  const settings = await run.api.list(collectionPath('loam.dev/v1/MeshSettings'));
  if (policies.length + settings.length === 0) return [note(what, 'none is in use')];
  const began = new Date();
  await run.apply(egressPolicy(run.namespace));
  // The outsider has no server: what is refused by the policy never gets as far as to learn that.
  const url = at(outsider.ip, SERVER_PORT);
  await run.dialUntil('client', url, isRefused);
  const lines = await run.until(
    () => run.dial('client', url).then(() => run.accessLog(client.node, began)),
    (all) => all.some(({ policy }) => String(policy).includes(EGRESS)),
  );
  const line = lines.find(({ policy }) => String(policy).includes(EGRESS));
  const allowed = await run.dialUntil(
    'client',
    `http://server.${run.namespace}.svc:${SERVICE_PORT}/`,
    isServed,
  );
  await run.remove(egressPolicy(run.namespace));
  if (line === undefined)
    return [
      fail(
        what,
        `what it does not allow was not refused on ${client.node}, or the ztunnel's log does not tell, as with logLevel error`,
        'kubectl get egresspolicies --all-namespaces -o yaml: their status',
      ),
    ];
  if (!isServed(allowed))
    return [fail(what, `what it allows is refused: ${dialledText(allowed)}`, checkMend(scene))];
  return [
    pass(
      what,
      `the client reaches what it allows and nothing else, by ${String(line['policy'])}, as the ztunnel on ${client.node} says`,
    ),
  ];
}

/** What is in force from the beginning: the run's own traffic passes whatever the whole mesh says. */
export function begin(namespace: string): readonly Manifest[] {
  return [peerAuthentication(namespace, 'PERMISSIVE'), allowAll(namespace)];
}
