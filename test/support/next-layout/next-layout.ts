/** The layout of next.h, with what brings an instance of this version over to it. */
import { join } from 'node:path';
import { GUARD_DROPS_BYTES } from '../../../lib/linux/bpf/guard-layout.ts';
import { currentLayout, type Layout, type MapEntry } from '../../../lib/linux/bpf/instance-layout.ts';
import { buffer, POD_BYTES, POD_USE_BYTES, type PodEntry } from '../../../lib/linux/bpf/layout.ts';
import { packageRoot } from '../../../lib/package-root.ts';

const NEXT_POD_BYTES = 56;
const NEXT_USE_BYTES = 48;
const NEXT_RECORD_BYTES = 56;
const NEXT_GUARD_BYTES = 80;
const NEXT_DROPS_BYTES = GUARD_DROPS_BYTES + 8;
const STORED_BYTES = 32;
const OWN_ADDRESSES = { bytes: 20, before: 8, now: 8 };
const SOURCES_BYTES = 64;

/** Where the objects of the next layout are. */
export function nextObjects(): string {
  return join(packageRoot(), 'test', 'support', 'next-layout');
}

/** See the top of the file. */
export function nextLayout(): Layout {
  const now = currentLayout(nextObjects());
  const podOf = (before: Buffer): Buffer => {
    const out = buffer(NEXT_POD_BYTES);
    out.writeUInt32LE(before.readUInt32LE(28), 0);
    before.copy(out, OWN_ADDRESSES.now, OWN_ADDRESSES.before, OWN_ADDRESSES.before + OWN_ADDRESSES.bytes);
    out.writeUInt32LE(before.readUInt32LE(40), 28);
    out.writeUInt32LE(before.readUInt32LE(36), 32);
    out.writeUInt16LE(before.readUInt16LE(34), 36);
    out.writeUInt16LE(before.readUInt16LE(32), 38);
    out.writeBigUInt64LE(before.readBigUInt64LE(0), 40);
    return out;
  };
  const formerPod = (bytes: Buffer): Buffer => {
    const out = buffer(POD_BYTES);
    out.writeUInt32LE(bytes.readUInt32LE(0), 28);
    bytes.copy(out, OWN_ADDRESSES.before, OWN_ADDRESSES.now, OWN_ADDRESSES.now + OWN_ADDRESSES.bytes);
    out.writeUInt32LE(bytes.readUInt32LE(28), 40);
    out.writeUInt32LE(bytes.readUInt32LE(32), 36);
    out.writeUInt16LE(bytes.readUInt16LE(36), 34);
    out.writeUInt16LE(bytes.readUInt16LE(38), 32);
    out.writeBigUInt64LE(bytes.readBigUInt64LE(40), 0);
    return out;
  };
  /** Without what is under way: the programs do not count the former records any more. */
  const useOf = (before: Buffer): Buffer => {
    const out = buffer(NEXT_USE_BYTES);
    out.writeBigUInt64LE(before.readBigUInt64LE(32), 8);
    out.writeBigUInt64LE(before.readBigUInt64LE(24), 16);
    return out;
  };
  const guardOf = (before: Buffer): Buffer => {
    const out = buffer(NEXT_GUARD_BYTES);
    out.writeUInt32LE(before.readUInt32LE(SOURCES_BYTES), 0);
    before.copy(out, 16, 0, SOURCES_BYTES);
    return out;
  };
  const dropsOf = (before: Buffer): Buffer => {
    const out = buffer(NEXT_DROPS_BYTES);
    before.copy(out, 8);
    return out;
  };
  const { pods, records, dialled, true_peer, guards, guard_drops, pod_uses } = now.maps;
  return {
    objects: now.objects,
    maps: {
      ...now.maps,
      pods: { version: 2, keyBytes: 8, valueBytes: NEXT_POD_BYTES, former: { 1: by(pods, podOf) } },
      pod_uses: { version: 2, keyBytes: 8, valueBytes: NEXT_USE_BYTES, former: { 1: by(pod_uses, useOf) } },
      records: { version: 2, keyBytes: records.keyBytes, valueBytes: NEXT_RECORD_BYTES },
      former_records: { ...records, family: 'records' },
      dialled: { version: 2, keyBytes: 4, valueBytes: STORED_BYTES },
      former_dialled: { ...dialled, family: 'dialled' },
      true_peer: { version: 2, keyBytes: 4, valueBytes: STORED_BYTES },
      former_true_peer: { ...true_peer, family: 'true_peer' },
      guards: { version: 2, keyBytes: 8, valueBytes: NEXT_GUARD_BYTES, former: { 1: by(guards, guardOf) } },
      guard_drops: {
        ...{ version: 2, keyBytes: 8, valueBytes: NEXT_DROPS_BYTES },
        former: { 1: by(guard_drops, dropsOf) },
      },
      counters: { ...now.maps.counters, version: now.maps.counters.version + 1 },
    },
    encodePod: (pod: PodEntry) => podOf(now.encodePod(pod)),
    decodePod: (bytes) => now.decodePod(formerPod(bytes)),
    encodeSelf: (cookie, pod) => now.encodeSelf(cookie, pod),
    decodePodUse: (bytes) => {
      const before = buffer(POD_USE_BYTES);
      bytes.copy(before, 0, 24);
      before.writeBigUInt64LE(bytes.readBigUInt64LE(16), 24);
      before.writeBigUInt64LE(bytes.readBigUInt64LE(8), 32);
      return now.decodePodUse(before);
    },
    encodePodUse: (outstanding) => {
      const out = buffer(NEXT_USE_BYTES);
      now.encodePodUse(outstanding).copy(out, 24, 0, 24);
      return out;
    },
    kindOfRecord: (bytes) => bytes.readUInt32LE(20),
    encodeGuard: (sources) => guardOf(now.encodeGuard(sources)),
    decodeGuardDrops: (bytes) => now.decodeGuardDrops(bytes.subarray(8)),
  };
}

/** Another value under the same key. */
function by(
  { keyBytes, valueBytes }: { keyBytes: number; valueBytes: number },
  convert: (value: Buffer) => Buffer,
): { keyBytes: number; valueBytes: number; convert: (entry: MapEntry) => MapEntry } {
  return { keyBytes, valueBytes, convert: ({ key, value }) => ({ key, value: convert(value) }) };
}
