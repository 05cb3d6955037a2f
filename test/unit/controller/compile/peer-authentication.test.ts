import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { planPeerAuthentication } from '../../../../controller/compile/peer-authentication.ts';
import { MTLS_MODES, type MtlsMode, type PeerAuthentication } from '../../../../controller/model/objects.ts';
import { admits, type Connection } from './evaluators.ts';

const ROOT = 'loam-system';

function object(
  name: string,
  namespace: string,
  spec: PeerAuthentication['spec'],
  created?: string,
): PeerAuthentication {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name, namespace, ...(created === undefined ? {} : { creationTimestamp: created }) },
    ...(spec === undefined ? {} : { spec }),
  };
}

const LABELS = { app: 'a' };
const plaintext = (port: number): Connection => ({ sourceIp: '10.0.0.1', destIp: '10.0.0.2', port });
const encrypted = (port: number): Connection => ({
  ...plaintext(port),
  source: { namespace: 'x', account: 'y' },
});

function decide(objects: readonly PeerAuthentication[], c: Connection): boolean {
  const policy = planPeerAuthentication(objects, ROOT).policyFor('shop', LABELS);
  return admits(policy === undefined ? [] : [policy], c);
}

describe('compile/peer-authentication', () => {
  it('gives the nearest mode that is set, per port, and never hinders mutual TLS', () => {
    const mode = fc.option(fc.constantFrom(...MTLS_MODES), { nil: undefined });
    const ports = fc.dictionary(fc.constantFrom('80', '81', '82'), fc.constantFrom(...MTLS_MODES), {
      maxKeys: 3,
    });
    fc.assert(
      fc.property(
        mode,
        mode,
        mode,
        ports,
        fc.constantFrom(80, 81, 82, 83),
        (mesh, namespace, workload, portModes, port) => {
          const of = (m: MtlsMode | undefined) => (m === undefined ? {} : { mtls: { mode: m } });
          const objects = [
            object('default', ROOT, of(mesh)),
            object('default', 'shop', of(namespace)),
            object('own', 'shop', {
              selector: { matchLabels: LABELS },
              ...of(workload),
              portLevelMtls: Object.fromEntries(Object.entries(portModes).map(([p, m]) => [p, { mode: m }])),
            }),
          ];
          const chain = [portModes[String(port)], workload, namespace, mesh, 'PERMISSIVE' as const];
          const effective = chain.find((m) => m !== undefined && m !== 'UNSET');
          assert.equal(decide(objects, plaintext(port)), effective !== 'STRICT');
          assert.equal(decide(objects, encrypted(port)), true);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('admits plaintext on a permissive port of a strict workload and nowhere else (istio#53884)', () => {
    const objects = [
      object('own', 'shop', {
        selector: { matchLabels: LABELS },
        mtls: { mode: 'STRICT' },
        portLevelMtls: { '7001': { mode: 'PERMISSIVE' } },
      }),
    ];
    assert.equal(decide(objects, plaintext(7001)), true);
    assert.equal(decide(objects, plaintext(7002)), false);
  });

  it('lets the oldest of two equals count, and says so of the other', () => {
    const old = object('z-old', 'shop', { mtls: { mode: 'STRICT' } }, '2026-01-01T00:00:00Z');
    const young = object('a-young', 'shop', { mtls: { mode: 'PERMISSIVE' } }, '2026-02-01T00:00:00Z');
    assert.equal(decide([young, old], plaintext(80)), false);
    assert.match(planPeerAuthentication([young, old], ROOT).message(young), /no effect: z-old/);
  });

  it('says which policy an object leads to', () => {
    const strict = { mtls: { mode: 'STRICT' as const } };
    const objects = [
      object('default', 'shop', strict),
      object('later', 'shop', strict),
      object('open', 'other', { mtls: { mode: 'PERMISSIVE' } }),
      object('own', 'shop', {
        selector: { matchLabels: LABELS },
        portLevelMtls: { '80': { mode: 'PERMISSIVE' } },
      }),
    ];
    const plan = planPeerAuthentication(objects, ROOT);
    assert.deepEqual(
      objects.map((each) => plan.policyOf(each)?.name),
      ['istio_converted_static_strict', undefined, undefined, 'converted_peer_authentication_own'],
    );
  });

  it('covers with a selector only its own namespace', () => {
    const objects = [object('own', ROOT, { selector: { matchLabels: LABELS }, mtls: { mode: 'STRICT' } })];
    assert.equal(decide(objects, plaintext(80)), true);
  });
});
