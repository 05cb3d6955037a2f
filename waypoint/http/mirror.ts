import type { Readable } from 'node:stream';
import type { Backend } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Engine } from './engine.ts';
import { copyHead } from '../../lib/mesh/waypoint/routing/filters/apply-filters.ts';
import { denialAtPod } from '../../lib/mesh/waypoint/pod-policy.ts';
import type { RequestBody } from './request-body.ts';
import type { RequestHead } from '../../lib/mesh/waypoint/request.ts';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

/** A mirror that does not answer must not hold anything for long. */
const MIRROR_TIMEOUT_MS = 10_000;

/**
 * Sends copies of a request to mirrors and drops their answers (Gateway API: HTTPRequestMirrorFilter). A copy leaves when
 * the request's body is whole; one whose body was too large to keep is dropped and counted.
 */
export function sendMirrors(
  engine: Engine,
  mirrors: readonly Backend[],
  head: RequestHead,
  body: RequestBody | undefined,
): void {
  for (const backend of mirrors) void mirror(engine, backend, copyHead(head), body).catch(() => undefined);
}

async function mirror(
  engine: Engine,
  { service, port, invalid }: Backend,
  head: RequestHead,
  body: RequestBody | undefined,
): Promise<void> {
  const { runtime } = engine.telemetry;
  const drop = (): void => runtime.count('mirrored', [service, 'dropped']);
  if (invalid !== '') {
    drop();
    return;
  }
  const bytes = body === undefined ? undefined : await body.whole();
  if (body !== undefined && bytes === undefined) {
    drop();
    return;
  }
  const cluster = engine.clusters.get(service, port);
  const endpoint = cluster.cluster.pick();
  const peer = typeof endpoint === 'string' ? undefined : cluster.peer(endpoint);
  if (
    typeof endpoint === 'string' ||
    peer === undefined ||
    denialAtPod(engine.policies, peer, head.source) !== undefined
  ) {
    drop();
    return;
  }
  const declared = engine.config.service(service)?.ports.find((p) => p.port === port)?.protocol;
  const http2 =
    declared === Protocol.HTTP2 || declared === Protocol.GRPC || (!declared && head.protocol !== 'http1');
  // As Envoy does, so that the mirror's logs show that nobody waits for the answer.
  head.authority = `${head.authority.replace(/:\d+$/, '')}-shadow`;
  delete head.headers['expect'];
  const startedMs = performance.now();
  const { cluster: balanced } = cluster;
  balanced.begin(endpoint);
  let timer: NodeJS.Timeout | undefined;
  try {
    const attempt = peer.client(http2 ? 'http2' : 'http1').request({
      head,
      headers: head.headers,
      hasBody: bytes !== undefined,
      upgrade: undefined,
      onInformational: () => undefined,
    });
    timer = setTimeout(() => attempt.abort(), MIRROR_TIMEOUT_MS);
    if (bytes !== undefined) {
      attempt.body?.on('error', () => undefined);
      attempt.body?.write(bytes);
      attempt.endBody({});
    }
    const { status, body: answer } = await attempt.response;
    runtime.count('mirrored', [service, 'sent']);
    if (answer !== undefined) await dropped(answer);
    attempt.complete();
    balanced.done(endpoint, { kind: 'status', status }, performance.now() - startedMs);
  } catch {
    balanced.done(endpoint, { kind: 'client-gone' }, performance.now() - startedMs);
    drop();
  } finally {
    clearTimeout(timer);
  }
}

/** Reads a body to its end, however it ends. */
function dropped(body: Readable): Promise<void> {
  return new Promise((resolve) => {
    body.on('error', () => undefined);
    body.once('close', () => resolve());
    if (body.closed) resolve();
    body.resume();
  });
}
