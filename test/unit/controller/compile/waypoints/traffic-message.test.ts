import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { toJson } from '@bufbuild/protobuf';
import { packageRoot } from '../../../../../lib/package-root.ts';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { parse } from 'yaml';
import { compileTrafficPolicy } from '../../../../../controller/compile/waypoints/traffic-message.ts';
import type { TrafficPolicy } from '../../../../../controller/model/objects.ts';
import { readManifest } from '../../../../../controller/sources/read-object.ts';
import { CONDITIONS, GRPC_STATUSES } from '../../../../../controller/schema/traffic-policy-values.ts';
import {
  LoadBalancing_Algorithm,
  RetryCondition,
  type TrafficPolicy as Message,
  TrafficPolicySchema,
} from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

function policy(spec: string): TrafficPolicy {
  const all = parse(spec) as object;
  const text = JSON.stringify({
    apiVersion: 'loam.dev/v1',
    kind: 'TrafficPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { targetRefs: [{ kind: 'Service', name: 'payments' }], ...all },
  });
  const [document] = readManifest('p.yaml', text);
  assert(document?.type === 'object', JSON.stringify(document));
  assert(document.object.kind === 'TrafficPolicy');
  return document.object;
}

const compile = (spec: string): Message => compileTrafficPolicy(policy(spec), undefined);

/** Fields as JSON, with those that are zero. */
const json = (message: Message): Record<string, unknown> =>
  toJson(TrafficPolicySchema, message, { alwaysEmitImplicit: true }) as Record<string, unknown>;

describe('what a waypoint is told of a TrafficPolicy', () => {
  it('leaves out parts that are not set', () => {
    const message = compile('timeouts: {}');
    assert.deepEqual(json(message), {
      namespace: 'shop',
      name: 'p',
      timeouts: { request: 0, idle: 0, connect: 10_000 },
    });
  });

  it('applies every default', () => {
    const spec = `{retries: {}, circuitBreaker: {}, outlierDetection: {}, loadBalancing: {},
      sessionPersistence: {name: s}, rateLimit: {rules: [{requests: 7, per: 1s}]}, fallback: {service: o, port: 80},
      faultInjection: {delay: {duration: 1s}, abort: {status: 503}}}`;
    assert.deepEqual(json(compile(spec)), {
      namespace: 'shop',
      name: 'p',
      retries: {
        on: ['CONNECT_FAILURE', 'REFUSED_STREAM'],
        statuses: [],
        attempts: 2,
        perTryTimeout: 0,
        backoffBase: 25,
        backoffMax: 250,
        budget: { percent: 20, window: 10_000, minPerSecond: 10 },
        retryNonIdempotent: false,
        sameEndpoint: false,
        maxBufferedBytes: 65_536,
      },
      fallback: {
        service: 'shop/o.shop.svc.cluster.local',
        port: 80,
        invalid: '',
        on: ['CONNECT_FAILURE', 'GATEWAY_ERROR'],
        statuses: [],
        onTimeout: false,
      },
      circuitBreaker: {
        maxConnections: 0,
        maxPendingRequests: 0,
        maxRequests: 0,
        maxRequestsPerConnection: 0,
      },
      outlierDetection: {
        consecutiveErrors: 5,
        consecutiveGatewayErrors: 0,
        interval: 10_000,
        baseEjection: 30_000,
        maxEjection: 300_000,
        maxEjectedPercent: 10,
        minHealthPercent: 0,
      },
      loadBalancing: { algorithm: 'LEAST_REQUEST', slowStart: 0, ignoreLocality: false },
      sessionPersistence: {
        name: 's',
        type: 'COOKIE',
        absoluteTimeout: 0,
        idleTimeout: 0,
        permanent: false,
      },
      rateLimit: { rules: [{ requests: 7, per: 1000, burst: 7, key: 'ALL', header: '', status: 429 }] },
      fault: {
        delayPercent: 100,
        delay: 1000,
        abortPercent: 100,
        abortStatus: 503,
        abortGrpcStatus: -1,
        headers: [],
      },
    });
  });

  it('tells every field of the example', () => {
    const text = readFileSync(join(packageRoot(), 'deploy/examples/traffic-policy.yaml'), 'utf8');
    const compiled = readManifest('e.yaml', text).flatMap((document) => {
      assert(document.type === 'object');
      return document.object.kind === 'TrafficPolicy'
        ? [json(compileTrafficPolicy(document.object, undefined))]
        : [];
    });
    assert.deepEqual(compiled, [
      {
        namespace: 'bank',
        name: 'accounts',
        retries: {
          on: ['CONNECT_FAILURE', 'REFUSED_STREAM', 'GATEWAY_ERROR', 'STATUS'],
          statuses: [425],
          attempts: 3,
          perTryTimeout: 500,
          backoffBase: 50,
          backoffMax: 1000,
          budget: { percent: 10, window: 30_000, minPerSecond: 5 },
          retryNonIdempotent: false,
          sameEndpoint: false,
          maxBufferedBytes: 16_384,
        },
        timeouts: { request: 2000, idle: 60_000, connect: 1000 },
        fallback: {
          service: 'bank/accounts-readonly.bank.svc.cluster.local',
          port: 8080,
          invalid: '',
          on: ['CONNECT_FAILURE', 'GATEWAY_ERROR', 'STATUS'],
          statuses: [500],
          onTimeout: true,
        },
        circuitBreaker: {
          maxConnections: 100,
          maxPendingRequests: 50,
          maxRequests: 200,
          maxRequestsPerConnection: 1000,
        },
        outlierDetection: {
          consecutiveErrors: 5,
          consecutiveGatewayErrors: 3,
          interval: 5000,
          baseEjection: 10_000,
          maxEjection: 120_000,
          maxEjectedPercent: 50,
          minHealthPercent: 30,
        },
        loadBalancing: { algorithm: 'EWMA', slowStart: 30_000, ignoreLocality: true },
        sessionPersistence: {
          name: 'bank-session',
          type: 'COOKIE',
          absoluteTimeout: 43_200_000,
          idleTimeout: 1_800_000,
          permanent: true,
        },
        rateLimit: {
          rules: [
            { requests: 1000, per: 1000, burst: 2000, key: 'ALL', header: '', status: 429 },
            { requests: 20, per: 1000, burst: 20, key: 'HEADER', header: 'x-api-key', status: 429 },
          ],
        },
      },
      {
        namespace: 'bank',
        name: 'accounts-readonly',
        loadBalancing: {
          algorithm: 'CONSISTENT_HASH',
          hash: { header: 'x-customer' },
          slowStart: 0,
          ignoreLocality: false,
        },
      },
      {
        namespace: 'bank',
        name: 'transfers',
        retries: {
          ...(json(compile('retries: {attempts: 0}'))['retries'] as object),
          on: ['CONNECT_FAILURE', 'REFUSED_STREAM'],
          attempts: 0,
        },
        fault: {
          delayPercent: 5,
          delay: 2000,
          abortPercent: 0.5,
          abortStatus: 503,
          abortGrpcStatus: 14,
          headers: [
            { name: 'x-chaos', exact: 'on' },
            { name: 'x-tester', regex: 'team-.*' },
          ],
        },
      },
    ]);
  });

  it('knows every condition, each as another one', () => {
    const { on } = compile(`retries: {conditions: [${CONDITIONS.join(', ')}]}`).retries ?? {};
    const words = (on ?? []).map((value) => RetryCondition[value]);
    assert.deepEqual(
      words,
      CONDITIONS.map((word, i) => `${i < 5 ? '' : 'GRPC_'}${word.toUpperCase().replaceAll('-', '_')}`),
    );
  });

  it('knows every algorithm, key and gRPC status', () => {
    const algorithm = (word: string): string | undefined => {
      const hash = word === 'consistent-hash' ? ', hash: {sourceIp: true}' : '';
      const { loadBalancing } = compile(`loadBalancing: {algorithm: ${word}${hash}}`);
      return loadBalancing === undefined ? undefined : LoadBalancing_Algorithm[loadBalancing.algorithm];
    };
    for (const word of ['least-request', 'round-robin', 'random', 'ewma', 'consistent-hash'])
      assert.equal(algorithm(word), word.toUpperCase().replace('-', '_'));
    const rules = ['all', 'source-identity', 'source-ip', 'header, header: X-Key'].map(
      (key) => `{requests: 1, per: 1s, key: ${key}}`,
    );
    const { rateLimit } = json(compile(`rateLimit: {rules: [${rules.join(', ')}]}`)) as {
      rateLimit: { rules: { key: string; header: string }[] };
    };
    assert.deepEqual(
      rateLimit.rules.map(({ key, header }) => [key, header]),
      [
        ['ALL', ''],
        ['SOURCE_IDENTITY', ''],
        ['SOURCE_IP', ''],
        ['HEADER', 'x-key'],
      ],
    );
    // gRPC: 1 CANCELLED, 7 PERMISSION_DENIED, 13 INTERNAL, 14 UNAVAILABLE, 16 UNAUTHENTICATED.
    const numbers = GRPC_STATUSES.map(
      (word) => compile(`faultInjection: {abort: {grpcStatus: ${word}}}`).fault?.abortGrpcStatus,
    );
    assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    const at = (word: string): number => GRPC_STATUSES.findIndex((each) => each === word) + 1;
    assert.deepEqual(
      ['cancelled', 'permission-denied', 'internal', 'unavailable', 'unauthenticated'].map(at),
      [1, 7, 13, 14, 16],
    );
  });

  it('derives what depends on other fields', () => {
    assert.equal(compile('retries: {backoff: {base: 1m}}').retries?.backoffMax, 600_000);
    assert.equal(compile('outlierDetection: {baseEjection: 1h}').outlierDetection?.maxEjection, 3_600_000);
    assert.equal(compile('outlierDetection: {baseEjection: 1s}').outlierDetection?.maxEjection, 300_000);
  });

  it('keeps keys of a hash and the names of sessions as HTTP compares them', () => {
    const source = (hash: string): unknown =>
      compile(`loadBalancing: {algorithm: consistent-hash, hash: {${hash}}}`).loadBalancing?.hash?.source;
    assert.deepEqual(source('header: X-User'), { case: 'header', value: 'x-user' });
    assert.deepEqual(source('cookie: Sid'), { case: 'cookie', value: 'Sid' });
    assert.deepEqual(source('query: User'), { case: 'query', value: 'User' });
    assert.deepEqual(source('sourceIp: true'), { case: 'sourceIp', value: true });
    assert.equal(compile('sessionPersistence: {name: Sid}').sessionPersistence?.name, 'Sid');
    assert.equal(
      compile('sessionPersistence: {name: X-Sid, type: header}').sessionPersistence?.name,
      'x-sid',
    );
  });

  it('keeps parts that switch something off', () => {
    assert.deepEqual(json(compile('rateLimit: {rules: []}'))['rateLimit'], { rules: [] });
    const { fault } = compile('faultInjection: {}');
    assert.deepEqual(
      [fault?.delayPercent, fault?.abortPercent, fault?.abortStatus, fault?.abortGrpcStatus],
      [0, 0, 0, -1],
    );
    assert.equal(compile('retries: {attempts: 0}').retries?.attempts, 0);
  });

  it('puts the reason in place of a fallback that cannot be used', () => {
    const { fallback } = compileTrafficPolicy(policy('fallback: {service: o, namespace: other, port: 80}'), {
      reason: 'RefNotPermitted',
      field: 'spec.fallback.namespace',
      message: 'no ReferenceGrant',
    });
    assert.equal(fallback?.service, '');
    assert.equal(fallback?.invalid, 'no ReferenceGrant');
  });
});
