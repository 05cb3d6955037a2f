import assert from 'node:assert/strict';
import type { Mesh } from '../harness.ts';
import type { Family } from './mesh.ts';

/** A pod's address of a family. */
export async function ipOf(mesh: Mesh, pod: string, family: Family): Promise<string> {
  const ip = (await mesh.pod(pod)).ips.find((each) => each.includes(':') === (family === '6'));
  assert.ok(ip !== undefined, `${pod} has no IPv${family} address`);
  return ip;
}

/** The address of a family to which a name leads in a pod. */
export async function resolved(mesh: Mesh, pod: string, name: string, family: Family): Promise<string> {
  const { stdout } = await mesh.exec(pod, 'getent', `ahostsv${family}`, name);
  return stdout.split(/\s/)[0] ?? '';
}
