import type { Backend } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Engine } from './engine.ts';
import { copyHead } from '../routing/filters/apply-filters.ts';
import { denialAtPod } from './pod-policy.ts';
import type { RequestBody } from './request-body.ts';
import type { RequestHead } from './request.ts';
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
  cluster.cluster.begin(endpoint);
  const attempt = peer.client(http2 ? 'http2' : 'http1').request({
    head,
    headers: head.headers,
    hasBody: bytes !== undefined,
    upgrade: undefined,
    onInformational: () => undefined,
  });
  const timer = setTimeout(() => attempt.abort(), MIRROR_TIMEOUT_MS);
  if (bytes !== undefined) {
    attempt.body?.on('error', () => undefined);
    attempt.body?.write(bytes);
    attempt.endBody({});
  }
  try {
    const response = await attempt.response;
    runtime.count('mirrored', [service, 'sent']);
    cluster.cluster.done(
      endpoint,
      { kind: 'status', status: response.status },
      performance.now() - startedMs,
    );
    response.body?.on('error', () => undefined);
    response.body?.once('close', () => clearTimeout(timer));
    response.body?.resume();
    if (response.body === undefined) clearTimeout(timer);
  } catch {
    clearTimeout(timer);
    cluster.cluster.done(endpoint, { kind: 'client-gone' }, performance.now() - startedMs);
    drop();
  }
}
