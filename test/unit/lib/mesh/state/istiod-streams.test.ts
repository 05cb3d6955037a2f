import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRegistry, fromBinary, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { beforeEach, describe, it } from 'mocha';
import {
  DeltaDiscoveryResponseSchema,
  type DeltaDiscoveryResponse,
} from '../../../../../proto/gen/envoy/discovery_pb.js';
import { packageRoot } from '../../../../../lib/package-root.ts';
import { AuthorizationSchema } from '../../../../../proto/gen/istio/security/authorization_pb.js';
import { AddressSchema } from '../../../../../proto/gen/istio/workload/workload_pb.js';
import { evaluate } from '../../../../../lib/mesh/policy/evaluate.ts';
import { decodeAddress, decodePolicy } from '../../../../../lib/mesh/state/decode.ts';
import { PolicyStore } from '../../../../../lib/mesh/state/policy-store.ts';
import { resolveUpstream } from '../../../../../lib/mesh/outbound/upstream.ts';
import { WorkloadStore } from '../../../../../lib/mesh/state/workload-store.ts';
import { ADDRESS_TYPE } from '../../../../../lib/mesh/xds/delta-service.ts';

const registry = createRegistry(AddressSchema, AuthorizationSchema);

function fixture(name: string): Buffer {
  return readFileSync(join(packageRoot(), 'test/unit/lib/mesh/state/fixtures', name));
}
function recordedStream(name: string): DeltaDiscoveryResponse[] {
  return fixture(name)
    .toString()
    .trim()
    .split('\n')
    .map((line) => {
      // Of the same numbers on the wire; Istio's names for a policy's levels are others than ours.
      const text = line.replaceAll('"rules":', '"clauses":').replaceAll('"groups":', '"rules":');
      const { response } = JSON.parse(text) as { response: JsonValue };
      return fromJson(DeltaDiscoveryResponseSchema, response, { registry });
    });
}

describe('recorded streams of a real istiod', () => {
  let workloads: WorkloadStore;
  let policies: PolicyStore;
  beforeEach(() => {
    workloads = new WorkloadStore();
    policies = new PolicyStore();
  });

  function take(response: DeltaDiscoveryResponse): void {
    const removed = response.removedResources;
    const parts = response.resources.map((r) => ({
      name: r.name,
      bytes: r.resource?.value ?? new Uint8Array(),
    }));
    if (response.typeUrl === ADDRESS_TYPE) {
      workloads.apply({ upserts: parts.map((p) => decodeAddress(p.name, p.bytes)), removed });
      return;
    }
    const decoded = parts.map((p) => decodePolicy(p.name, p.bytes));
    assert.deepEqual(
      decoded.flatMap((d) => d.errors),
      [],
    );
    policies.apply({ upserts: decoded.map((d) => d.policy), removed });
  }
  const podOf = (prefix: string) => {
    const found = [...workloads.workloads()].find((w) => w.name.startsWith(prefix));
    assert.ok(found, prefix);
    return found;
  };
  const clusterIp = (key: string) => {
    const ip = workloads.service(key)?.addresses[0]?.ip;
    assert.ok(ip, key);
    return ip;
  };

  it('decode, and give the decisions that Istio means', () => {
    for (const name of ['address.delta.pb', 'authorization.delta.pb']) {
      take(fromBinary(DeltaDiscoveryResponseSchema, fixture(name)));
    }
    assert.deepEqual(workloads.size, { workloads: 16, services: 10 });
    assert.equal(policies.size, 4);

    const client = podOf('cli-b9d7cff7b');
    const named = clusterIp('fix/beta.fix.svc.cluster.local');
    const up = resolveUpstream(workloads, client, { ip: named, port: 80 });
    assert.equal(up.kind, 'hbone');
    assert.equal(up.kind === 'hbone' && up.targetPort, 7000, 'a named target port is the endpoint’s');
    const plain = clusterIp('bench-plain/srv.bench-plain.svc.cluster.local');
    assert.equal(resolveUpstream(workloads, client, { ip: plain, port: 7000 }).kind, 'direct');
    assert.equal(resolveUpstream(workloads, client, { ip: plain, port: 1 }).kind, 'refused');
    assert.equal(workloads.endpoints('fix/alpha-headless.fix.svc.cluster.local').size, 2);
    assert.equal(resolveUpstream(workloads, client, { ip: '192.0.2.1', port: 1 }).kind, 'passthrough');
    const node = workloads.byUid('Kubernetes/discovery.k8s.io/EndpointSlice/default/kubernetes/198.18.0.10');
    assert.ok(node?.hostNetwork);
    assert.equal(workloads.workloadAt('', '198.18.0.10'), undefined);

    const alpha = podOf('alpha');
    const beta = podOf('beta');
    const to = (port: number, sourceIdentity?: typeof beta.identity) => ({
      sourceIp: '198.18.9.9',
      destIp: alpha.addresses[0] ?? '',
      destPort: port,
      sourceIdentity,
    });
    assert.equal(evaluate(policies, alpha, to(7000, beta.identity)).verdict, 'allow');
    const stranger = evaluate(policies, alpha, to(7000, { ...beta.identity, serviceAccount: 'x' }));
    assert.equal(stranger.verdict, 'deny');
    const plaintext = evaluate(policies, alpha, to(7000));
    assert.equal(
      plaintext.verdict === 'deny' && plaintext.policy,
      'istio-system/istio_converted_static_strict',
    );
    // Plaintext is allowed on the one port that the PeerAuthentication leaves out.
    assert.equal(evaluate(policies, beta, to(7001)).verdict, 'deny', 'the other policy of the namespace');
    assert.deepEqual(evaluate(policies, beta, { ...to(7001), sourceIp: '198.18.0.7' }).verdict, 'allow');
    assert.equal(evaluate(policies, beta, to(7000)).verdict, 'deny');
  });

  it('follow changes: edits, additions, removals', () => {
    const responses = recordedStream('changes.jsonl');
    assert.equal(responses.length, 8);
    for (const response of responses) take(response);
    assert.equal(workloads.byUid('Kubernetes//Pod/fix/beta-7544cd8cb-2hkl6'), undefined);
    assert.equal(policies.get('fix/alpha-from-beta'), undefined);
    assert.ok(!podOf('alpha').authorizationPolicies.includes('fix/alpha-from-beta'));
    assert.deepEqual(workloads.size, { workloads: 16, services: 10 });
  });

  it('name a policy before they send it: those connections wait, and are decided when it comes', () => {
    const [addresses, none, listed, sent, unlisted, removed] = recordedStream('policy-order.jsonl');
    assert.ok(addresses && none && listed && sent && unlisted && removed);
    take(addresses);
    take(none);
    const uid = listed.resources[0]?.name ?? '';
    const verdict = (mayWait = true) => {
      const target = workloads.byUid(uid);
      assert.ok(target);
      const sourceIdentity = { trustDomain: 'cluster.local', namespace: 'bench', serviceAccount: 'nobody' };
      const destIp = target.addresses[0] ?? '';
      const connection = { sourceIdentity, sourceIp: '198.18.0.3', destIp, destPort: 7000 };
      return evaluate(policies, target, connection, { mayWait });
    };
    assert.equal(verdict().verdict, 'allow');
    take(listed);
    const waiting = verdict();
    assert.deepEqual(waiting.verdict === 'wait' && waiting.missing, ['bench/order']);
    assert.equal(verdict(false).verdict, 'deny');
    take(sent);
    assert.equal(verdict().verdict, 'deny');
    take(unlisted);
    assert.equal(verdict().verdict, 'allow');
    take(removed);
    assert.equal(verdict().verdict, 'allow');
  });
});
