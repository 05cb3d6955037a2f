import { zstdCompressSync } from 'node:zlib';

import { create, toBinary } from '@bufbuild/protobuf';
import { MAX_UNPACKED_BYTES } from '../../lib/mesh/xds/packed.ts';
import {
  DeltaDiscoveryResponseSchema,
  type Resource,
  ResourceSchema,
} from '../../proto/gen/envoy/discovery_pb.js';
import type { OutgoingResponse } from './delta-stream.ts';
import type { VersionedResource } from './snapshot.ts';

/** Of `resources` in DeltaDiscoveryResponse: field 2, length-delimited. */
const RESOURCES_TAG = (2 << 3) | 2;
/** Of `loam_packed_resources`. */
const PACKED_TAG = (15_001 << 3) | 2;
/** Of Resource and of Any. */
const VERSION_TAG = (1 << 3) | 2;
const ANY_TAG = (2 << 3) | 2;
const NAME_TAG = (3 << 3) | 2;
const TYPE_URL_TAG = (1 << 3) | 2;
const VALUE_TAG = (2 << 3) | 2;
const LOW_BITS = 0x7f;
const MORE = 0x80;
/** Of a tag of three bytes and a length. */
const MAX_PREFIX_BYTES = 8;
/** Below it, compressing gains nothing. */
const MIN_PACKED_BYTES = 8 * 1024;

/**
 * Encodes a response. Each resource is encoded once, however many clients get it; they share its bytes until they are on the wire.
 *
 * @param packs whether the client reads compressed resources: what is shared is compressed once for all of them
 */
export function encodeResponse(response: OutgoingResponse, packs = false): Buffer {
  const { typeUrl, nonce, systemVersionInfo, resources, removedResources, withAliases, shared, askedAs } =
    response;
  const rest = {
    ...{ typeUrl, nonce, systemVersionInfo },
    removedResources: [...removedResources],
  };
  if (shared !== undefined && !withAliases) {
    if (packs) {
      shared.packed ??= pack(shared.wire ?? encodeResources(typeUrl, resources));
      if (shared.packed !== 'as it is') return Buffer.concat([shared.packed, encodeRest(rest)]);
    }
    shared.wire ??= encodeResources(typeUrl, resources);
    return Buffer.concat([shared.wire, encodeRest(rest)]);
  }
  const parts: Uint8Array[] = [];
  for (const resource of resources) {
    // The client of one address is told all others of what it finds there, and others are not.
    const aliases = withAliases
      ? toBinary(ResourceSchema, create(ResourceSchema, aliasesOf(resource)))
      : NONE;
    const bytes = encodedOnce(typeUrl, resource);
    parts.push(lengthPrefix(RESOURCES_TAG, bytes.length + aliases.length), bytes, aliases);
    for (const name of askedAs?.get(resource.name) ?? []) {
      const same = encode(typeUrl, { ...resource, name });
      parts.push(lengthPrefix(RESOURCES_TAG, same.length), same);
    }
  }
  parts.push(encodeRest(rest));
  return Buffer.concat(parts);
}

function encodeRest(fields: Parameters<typeof create<typeof DeltaDiscoveryResponseSchema>>[1]): Uint8Array {
  return toBinary(DeltaDiscoveryResponseSchema, create(DeltaDiscoveryResponseSchema, fields));
}

/** @returns the field with them as it stands in a response */
function pack(wire: Uint8Array): Uint8Array | 'as it is' {
  const isWorthIt = wire.length >= MIN_PACKED_BYTES && wire.length <= MAX_UNPACKED_BYTES;
  if (!isWorthIt) return 'as it is';
  const packed = zstdCompressSync(wire);
  return Buffer.concat([lengthPrefix(PACKED_TAG, packed.length), packed]);
}

/** Without aliases. Of what is kept for all together, each need not be kept too. */
function encodeResources(typeUrl: string, resources: readonly VersionedResource[]): Uint8Array {
  return Buffer.concat(
    resources.flatMap((resource) => {
      const bytes = resource.wire ?? encode(typeUrl, resource);
      return [lengthPrefix(RESOURCES_TAG, bytes.length), bytes];
    }),
  );
}

const NONE = new Uint8Array();

function aliasesOf({ aliases }: VersionedResource): Pick<Resource, 'aliases'> {
  return { aliases: [...aliases] };
}

function encodedOnce(typeUrl: string, resource: VersionedResource): Uint8Array {
  resource.wire ??= encode(typeUrl, resource);
  return resource.wire;
}

/** A Resource with name, version and content. By hand: there are tens of thousands, and the general way takes ten times as long. */
function encode(typeUrl: string, { name, version, bytes }: VersionedResource): Uint8Array {
  const [typeBytes, nameBytes, versionBytes] = [typeUrl, name, version].map((text) =>
    Buffer.byteLength(text),
  ) as [number, number, number];
  const any = fieldBytes(typeBytes) + (bytes.length === 0 ? 0 : fieldBytes(bytes.length));
  const out = Buffer.alloc(fieldBytes(versionBytes) + fieldBytes(any) + fieldBytes(nameBytes));
  let at = 0;
  const text = (tag: number, value: string, length: number): void => {
    at = writePrefix(out, at, tag, length);
    at += out.write(value, at);
  };
  text(VERSION_TAG, version, versionBytes);
  at = writePrefix(out, at, ANY_TAG, any);
  text(TYPE_URL_TAG, typeUrl, typeBytes);
  if (bytes.length > 0) {
    at = writePrefix(out, at, VALUE_TAG, bytes.length);
    out.set(bytes, at);
    at += bytes.length;
  }
  text(NAME_TAG, name, nameBytes);
  return out;
}

/** What a field of so many bytes takes with its tag and length. */
function fieldBytes(length: number): number {
  let bytes = 2 + length;
  for (let left = length; left > LOW_BITS; left >>>= 7) bytes += 1;
  return bytes;
}

/** Tag and length (protobuf's varints) of a field. */
function lengthPrefix(tag: number, length: number): Uint8Array {
  const bytes = new Uint8Array(MAX_PREFIX_BYTES);
  return bytes.subarray(0, writePrefix(bytes, 0, tag, length));
}

/** @returns where it ends */
function writePrefix(out: Uint8Array, from: number, tag: number, length: number): number {
  let at = from;
  for (const value of [tag, length]) {
    let left = value;
    while (left > LOW_BITS) {
      out[at++] = (left & LOW_BITS) | MORE;
      left >>>= 7;
    }
    out[at++] = left;
  }
  return at;
}
