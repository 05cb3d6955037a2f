/**
 * Some nodes of a large cluster, for bench/kubernetes/controller.ts: each follows the controller by delta xDS on a connection of its
 * own, as a ztunnel does. They share the machine's processors with the controller and stand for a hundred other machines, so they do
 * as little as possible: bare HTTP/2, and of a message they read only how many resources it has.
 */
import { connect } from 'node:http2';
import { zstdDecompressSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
} from '../../proto/gen/envoy/discovery_pb.js';
import { DELTA_ADS_PATH } from '../../lib/mesh/xds/delta-service.ts';
import { ACCEPT_PACKED_HEADER, PACKED_BY } from '../../lib/mesh/xds/packed.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, EGRESS_TYPE } from '../../controller/xds/snapshot.ts';
import { nodeToken } from './stand-in.ts';

/** What this process is told to do, one after the other. */
export interface Connect {
  readonly address: string;
  readonly rootPem: string;
  readonly nodes: readonly string[];
  /** How many addresses there are: a node is complete when it has as many. */
  readonly addresses: number;
}

/** What this process tells. Times are milliseconds since the epoch. */
export type Told =
  | { readonly told: 'complete'; readonly node: string; readonly tookMs: number; readonly bytes: number }
  | { readonly told: 'change'; readonly node: string; readonly version: string; readonly atMs: number }
  | { readonly told: 'ended'; readonly node: string; readonly reason: string };

/** Responses up to this size are looked into for a changed pod. */
const SMALL_BYTES = 64 * 1024;
const TYPES = [ADDRESS_TYPE, AUTHORIZATION_TYPE, EGRESS_TYPE];
const RETRY_MS = 300;
/** Of a gRPC message: whether it is compressed, and its length. */
const PREFIX_BYTES = 5;
/** Of a DeltaDiscoveryResponse: its resources, compressed. */
const PACKED_FIELD = 15_001;
/** The label of a pod that cluster.ts changed. */
const CHANGED = /changed-\d+/g;

process.on('message', (order: Connect) => {
  for (const node of order.nodes) follow(node, order);
});
process.on('disconnect', () => process.exit());

function tell(message: Told): void {
  process.send?.(message);
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Of a node: the controller lets only so many strangers of one address ask at once whose their tokens are. */
function addressOf(node: string): string {
  const n = Number(/\d+$/.exec(node)?.[0] ?? 0);
  return `127.0.${1 + (n >> 8)}.${n & 255}`;
}

function follow(node: string, order: Connect, token = nodeToken(node)): void {
  const { address, rootPem, addresses } = order;
  const began = performance.now();
  let has = 0;
  let received = 0;
  let isOver = false;
  const session = connect(`https://${address}`, {
    ca: rootPem,
    servername: 'loam-controller.loam-system.svc',
    // Passed on to the socket; the types do not say so.
    ...{ localAddress: addressOf(node) },
  });
  const ended = (reason: string): void => {
    if (isOver) return;
    isOver = true;
    session.destroy();
    if (has > 0) tell({ told: 'ended', node, reason });
    else setTimeout(() => follow(node, order, token), RETRY_MS);
  };
  session.on('error', (error: Error) => ended(error.message));
  session.on('close', () => ended('the connection was closed'));
  const stream = session.request({
    ':method': 'POST',
    ':path': DELTA_ADS_PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${token}`,
    [ACCEPT_PACKED_HEADER]: PACKED_BY,
  });
  const ask = (request: Partial<DeltaDiscoveryRequest>): void => {
    const { $typeName: _, ...fields } = request as DeltaDiscoveryRequest;
    stream.write(framed(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, fields))));
  };
  stream.on('error', (error: Error) => ended(error.message));
  stream.on('trailers', (trailers) => ended(`grpc-status ${String(trailers['grpc-status'])}`));
  stream.on('close', () => ended('the stream was closed'));
  for (const typeUrl of TYPES)
    ask({ typeUrl, node: { $typeName: 'envoy.config.core.v3.Node', id: `ztunnel~${node}` } as never });
  const take = (message: Buffer): void => {
    const atMs = nowMs();
    received += message.length;
    const { typeUrl, nonce, resources } = outline(message);
    ask({ typeUrl, responseNonce: nonce });
    if (typeUrl !== ADDRESS_TYPE) return;
    const wasComplete = has >= addresses;
    has += resources;
    if (!wasComplete && has >= addresses)
      tell({ told: 'complete', node, tookMs: performance.now() - began, bytes: received });
    if (wasComplete && message.length < SMALL_BYTES)
      for (const [version] of message.toString('latin1').matchAll(CHANGED))
        tell({ told: 'change', node, version, atMs });
  };
  let parts: Buffer[] = [];
  let waiting = 0;
  stream.on('data', (chunk: Buffer) => {
    parts.push(chunk);
    waiting += chunk.length;
    for (;;) {
      if (waiting < PREFIX_BYTES) return;
      if ((parts[0]?.length ?? 0) < PREFIX_BYTES) parts = [Buffer.concat(parts)];
      const length = PREFIX_BYTES + (parts[0]?.readUInt32BE(1) ?? 0);
      if (waiting < length) return;
      const all = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
      parts = all.length > length ? [all.subarray(length)] : [];
      waiting = all.length - length;
      take(all.subarray(PREFIX_BYTES, length));
    }
  });
}

function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Type, nonce and number of resources of a DeltaDiscoveryResponse, without reading those. */
function outline(bytes: Buffer): { typeUrl: string; nonce: string; resources: number } {
  const found = { typeUrl: '', nonce: '', resources: 0 };
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    if ((tag & 7) !== 2) throw new Error(`wire type ${tag & 7} in a DeltaDiscoveryResponse`);
    const length = varint();
    const field = tag >>> 3;
    if (field === 2) found.resources += 1;
    else if (field === PACKED_FIELD)
      found.resources += outline(zstdDecompressSync(bytes.subarray(at, at + length))).resources;
    else if (field === 4) found.typeUrl = bytes.toString('utf8', at, at + length);
    else if (field === 5) found.nonce = bytes.toString('utf8', at, at + length);
    at += length;
  }
  return found;
}
