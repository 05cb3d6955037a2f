import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { compileMesh, type CompiledMesh } from '../../../controller/compile/mesh.ts';
import type { KubeObject } from '../../../controller/model/objects.ts';
import type { Assignments } from '../../../controller/sources/assignments.ts';
import { readManifest } from '../../../controller/sources/read-object.ts';
import { decodeAddress, decodePolicy } from '../../../lib/mesh/state/decode.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { decodeResource } from '../../../waypoint/state/decode-resource.ts';
import { compilePolicy } from '../../../lib/mesh/waypoint/security/compile-policy.ts';
import { mutateLines } from '../engine/mutate.ts';
import type { FuzzTarget } from '../engine/target.ts';

/** Manifests, from the text to what nodes and waypoints decode: what the controller accepts, they must understand. */
export const target: FuzzTarget = {
  name: 'manifest',
  mutate: mutateLines,
  maxLength: 6_144,
  seeds: examples(),
  words: [
    'null',
    '~',
    '"*"',
    '[]',
    '{}',
    '&a',
    '*a',
    '<<:',
    '|',
    '>-',
    '---',
    '!!binary',
    '0x10',
    '1e3',
    '.inf',
    '10.0.0.0/33',
    '::/0',
    'fd00::1',
  ],
  run(input) {
    const text = input.toString('utf8');
    const documents = readManifest('fuzz.yaml', text);
    assert.deepEqual(readManifest('fuzz.yaml', text), documents, 'reading is deterministic');
    const objects = new Map<string, KubeObject>();
    for (const document of documents) {
      if (document.type === 'bad') assert.ok(document.problems.length > 0, 'refused without a reason');
      if (document.type !== 'object') continue;
      const { kind, metadata } = document.object;
      objects.set(`${kind}/${metadata.namespace ?? 'default'}/${metadata.name}`, document.object);
    }
    if (objects.size === 0) return;
    const first = compile([...objects.values()]);
    assertUnderstood(first);
    const second = compile([...objects.values()]);
    assert.deepEqual(bytesOf(second), bytesOf(first), 'compiling is deterministic');
  },
};

function compile(objects: readonly KubeObject[]): CompiledMesh {
  const of = (kind: string): string[] =>
    objects
      .filter((o) => o.kind === kind)
      .map(({ metadata }) => `${metadata.namespace ?? 'default'}/${metadata.name}`);
  const assignments: Assignments = {
    pods: Object.fromEntries(
      of('Pod').map((key, i) => [key, { ips: [`198.18.0.${i + 1}`], node: 'node-a', ready: true }]),
    ),
    services: Object.fromEntries(of('Service').map((key, i) => [key, { clusterIPs: [`198.19.0.${i + 1}`] }])),
    gateways: Object.fromEntries(
      of('Gateway').map((key, i) => [key, { clusterIPs: [`198.19.1.${i + 1}`], instances: [] }]),
    ),
  };
  return compileMesh({
    objects,
    assignments,
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'loam-system',
    sessionSecret: new Uint8Array(32),
  });
}

/** Nothing that the controller sends may be refused by those for whom it is meant. */
function assertUnderstood(mesh: CompiledMesh): void {
  for (const [name, { bytes }] of mesh.addresses) decodeAddress(name, bytes);
  for (const [name, { bytes }] of mesh.authorizations) {
    const { policy, errors } = decodePolicy(name, bytes);
    assert.deepEqual(errors, []);
    assert.equal(policy.unsupported, undefined, 'a policy that its own nodes do not understand');
    for (const { clauses } of policy.rules)
      for (const { matches } of clauses)
        for (const match of matches) assert.equal(match.unsupported, undefined);
  }
  for (const resources of mesh.waypoints.values())
    for (const [name, { bytes }] of resources) {
      const { kind } = decodeResource(name, bytes).value.resource;
      if (kind.case !== 'authorization') continue;
      const { unsupported } = compilePolicy(kind.value);
      // What cannot be enforced as written says so in the message already.
      if (kind.value.unsupported === '') assert.equal(unsupported, undefined);
    }
}

function bytesOf({ addresses, authorizations, waypoints }: CompiledMesh): unknown {
  return [addresses, authorizations, ...waypoints.values()].map((each) =>
    [...each].map(([name, { bytes }]) => [name, Buffer.from(bytes).toString('base64')]),
  );
}

function examples(): string[] {
  const folder = join(packageRoot(), 'deploy', 'examples', 'shop');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.ya?ml$/.test(file),
  );
  return files.sort().flatMap((file) => readFileSync(join(folder, file), 'utf8').split(/^---$/m));
}
