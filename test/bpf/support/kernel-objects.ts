/** What an instance has in the kernel, by its pins. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { BpfErrorCode } from '../../../lib/linux/bpf/index.ts';
import { libbpf } from '../../../lib/linux/bpf/libbpf.ts';
import { BpfMap } from '../../../lib/linux/bpf/map.ts';
import { SHAPE, DEFAULT_BPFFS } from '../../../lib/linux/bpf/pins.ts';
import { closeFd } from '../../../lib/linux/libc.ts';
import { run } from './lab.ts';

/** Ids of an instance's links and of the programs attached by them, by its pins. */
export function kernelObjects(instance: string): { links: number[]; programs: number[] } {
  const root = join(DEFAULT_BPFFS, 'loam', instance, SHAPE);
  const ids = ['links', 'pods'].flatMap((kind) =>
    readdirSync(join(root, kind)).map((name) => {
      const info = run(`bpftool link show pinned ${join(root, kind, name)}`);
      return { link: Number(/^(\d+):/.exec(info)?.[1]), program: Number(/prog (\d+)/.exec(info)?.[1]) };
    }),
  );
  return { links: ids.map(({ link }) => link), programs: ids.map(({ program }) => program) };
}

/** The path of a pin; of a map, in its first version. */
export function pinned(mesh: { readonly instance: string }, kind: string, name: string): string {
  return join(DEFAULT_BPFFS, 'loam', mesh.instance, SHAPE, kind, kind === 'maps' ? `${name}-1` : name);
}

/** A map of an instance by its pin, as somebody else of the node would open it. Disposed of, it is closed. */
export function pinnedMap(
  mesh: { readonly instance: string },
  name: string,
  keyBytes: number,
  valueBytes: number,
): OpenMap {
  const fd = libbpf().openPin(pinned(mesh, 'maps', name));
  assert.ok(fd >= 0, name);
  return Object.assign(new BpfMap(name, fd, keyBytes, valueBytes), { [Symbol.dispose]: () => closeFd(fd) });
}
export type OpenMap = BpfMap & Disposable;

/** Asserts that something throws an error with this code. */
export function fails(code: BpfErrorCode, body: () => unknown): void {
  assert.throws(body, (error: unknown) => error instanceof Error && 'code' in error && error.code === code);
}
