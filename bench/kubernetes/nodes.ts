/**
 * Some nodes of a large cluster, for bench/kubernetes/controller.ts: each follows the controller by delta xDS on a connection of its
 * own, as a ztunnel does, and keeps nothing but counts.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ClientDuplexStream, Client, credentials, Metadata } from '@grpc/grpc-js';
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../../proto/gen/envoy/discovery_pb.js';
import { AddressSchema } from '../../proto/gen/istio/workload/workload_pb.js';
import { DELTA_ADS_PATH } from '../../lib/mesh/xds/delta-service.ts';
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
  | { readonly told: 'complete'; readonly node: string; readonly tookMs: number }
  | { readonly told: 'change'; readonly node: string; readonly version: string; readonly atMs: number }
  | { readonly told: 'ended'; readonly node: string; readonly reason: string };

/** Responses up to this size are looked into for a changed pod. */
const SMALL_BYTES = 64 * 1024;
const TYPES = [ADDRESS_TYPE, AUTHORIZATION_TYPE, EGRESS_TYPE];
const RETRY_MS = 300;
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

type Stream = ClientDuplexStream<DeltaDiscoveryRequest, Buffer>;

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

/** The controller lets only so many of one address ask whose their tokens are at once: whoever is one too many comes again. */
function follow(node: string, order: Connect): void {
  const { address, rootPem, addresses } = order;
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${nodeToken(node)}`);
  const client = new Client(address, credentials.createSsl(Buffer.from(rootPem)), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.ssl_target_name_override': 'loam-controller.loam-system.svc',
    'grpc.enable_http_proxy': 0,
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  });
  const began = performance.now();
  let has = 0;
  const stream: Stream = client.makeBidiStreamRequest(
    DELTA_ADS_PATH,
    (request: DeltaDiscoveryRequest) => Buffer.from(toBinary(DeltaDiscoveryRequestSchema, request)),
    (bytes: Buffer) => bytes,
    metadata,
  );
  stream.on('error', (error: Error) => {
    if (has > 0) tell({ told: 'ended', node, reason: error.message });
    else setTimeout(() => follow(node, order), RETRY_MS);
    client.close();
  });
  for (const typeUrl of TYPES)
    stream.write(create(DeltaDiscoveryRequestSchema, { typeUrl, node: { id: `ztunnel~${node}` } }));
  stream.on('data', (bytes: Buffer) => {
    const atMs = nowMs();
    const { typeUrl, nonce, resources } = outline(bytes);
    stream.write(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce }));
    if (typeUrl !== ADDRESS_TYPE) return;
    const wasComplete = has >= addresses;
    has += resources;
    if (!wasComplete && has >= addresses) tell({ told: 'complete', node, tookMs: performance.now() - began });
    if (wasComplete && bytes.length < SMALL_BYTES)
      for (const version of versionsIn(bytes)) tell({ told: 'change', node, version, atMs });
  });
}

/** The versions (label of the pod) of the workloads in a response. */
function versionsIn(bytes: Buffer): string[] {
  return fromBinary(DeltaDiscoveryResponseSchema, bytes).resources.flatMap(({ resource }) => {
    const { type } = fromBinary(AddressSchema, resource?.value ?? new Uint8Array());
    return type.case === 'workload' ? [type.value.canonicalRevision] : [];
  });
}

/** Type, nonce and number of resources of a DeltaDiscoveryResponse, without reading those: a hundred nodes share few processors. */
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
    const field = tag >> 3;
    if (field === 2) found.resources += 1;
    else if (field === 4) found.typeUrl = bytes.toString('utf8', at, at + length);
    else if (field === 5) found.nonce = bytes.toString('utf8', at, at + length);
    at += length;
  }
  return found;
}
