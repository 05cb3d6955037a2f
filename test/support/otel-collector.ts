import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageRoot } from '../../lib/package-root.ts';

const SOURCES = join(packageRoot(), 'test', 'support', 'otel-collector');
const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'loam-otel-collector');
const START_TIMEOUT_MS = 60_000;
const WAIT_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 8_000;

/** A span as the collector wrote it. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  /** `service.name` of its resource. */
  readonly service: string;
  readonly kind: 'server' | 'client' | 'other';
  readonly failed: boolean;
  readonly message: string;
  readonly tracestate: string;
  /** ns since the epoch. */
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
}

/**
 * Builds the OpenTelemetry Collector once, at the versions that go.sum pins, and keeps it in the user's cache.
 *
 * @returns the program's path
 * @throws Error with the compiler's output, or naming what is missing
 */
export function buildCollector(): string {
  const hash = createHash('sha256');
  for (const file of ['main.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(SOURCES, file)));
  const program = join(CACHE, `otel-collector-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  const fresh = `${program}.${process.pid}`;
  try {
    const command = ['build', '-trimpath', '-mod=readonly', '-ldflags', '-s -w', '-o', fresh, '.'];
    execFileSync('go', command, { cwd: SOURCES, stdio: ['ignore', 'ignore', 'pipe'] });
    // Whole or not at all: several runs may build at a time.
    renameSync(fresh, program);
  } catch (error) {
    throw new Error('the OpenTelemetry Collector could not be built; it needs Go 1.26 or newer in PATH', {
      cause: error,
    });
  } finally {
    rmSync(fresh, { force: true });
  }
  return program;
}

export interface CollectorOptions {
  /** Where its configuration, log and the received spans lie. */
  readonly folder: string;
  /** OTLP/HTTP's address; 127.0.0.1 and a free port when not given. */
  readonly listen?: { readonly ip: string; readonly port: number };
  /** Path of the network namespace that it runs in. */
  readonly netns?: string;
}

/** A real collector with receivers for OTLP/HTTP and OTLP/gRPC, whose spans are read back from its file exporter. */
export class OtelCollector {
  /** For the waypoint's settings: OTLP/HTTP. */
  readonly endpoint: string;
  /** The same by OTLP/gRPC, on a free port of 127.0.0.1 (of its network namespace). */
  readonly grpcEndpoint: string;
  readonly #child: ChildProcess;
  readonly #received: string;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess, endpoint: string, grpcEndpoint: string, received: string) {
    this.#child = child;
    this.endpoint = endpoint;
    this.grpcEndpoint = grpcEndpoint;
    this.#received = received;
    this.#exited = once(child, 'exit');
  }

  /** @throws Error with its log when it does not come up */
  static async start(options: CollectorOptions): Promise<OtelCollector> {
    const program = buildCollector();
    const { ip, port } = options.listen ?? { ip: '127.0.0.1', port: await freePort() };
    const grpc = `127.0.0.1:${await freePort()}`;
    mkdirSync(options.folder, { recursive: true });
    const config = join(options.folder, 'collector.yaml');
    const received = join(options.folder, 'spans.jsonl');
    rmSync(received, { force: true });
    writeFileSync(config, configuration(`${ip}:${port}`, grpc, received));
    const command = [program, '--config', `file:${config}`];
    if (options.netns !== undefined) command.unshift('nsenter', `--net=${options.netns}`);
    const [executable = '', ...args] = command;
    const child = spawn(executable, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const collector = new OtelCollector(child, `http://${ip}:${port}`, `grpc://${grpc}`, received);
    try {
      await ready(child);
    } catch (error) {
      await collector.stop();
      throw error;
    }
    return collector;
  }

  /** All spans that were received so far, in the order of their arrival. */
  spans(): ReceivedSpan[] {
    if (!existsSync(this.#received)) return [];
    // A last line without an end is still being written.
    const lines = readFileSync(this.#received, 'utf8').split('\n').slice(0, -1);
    return lines.filter((line) => line !== '').flatMap((line) => spansOfBatch(JSON.parse(line) as Batch));
  }

  /**
   * Waits until the spans satisfy a condition.
   *
   * @throws Error naming what was waited for, with the spans that came, after 30 s
   */
  async waitFor(
    what: string,
    satisfied: (spans: readonly ReceivedSpan[]) => boolean,
  ): Promise<ReceivedSpan[]> {
    const deadline = performance.now() + WAIT_TIMEOUT_MS;
    for (;;) {
      const spans = this.spans();
      if (satisfied(spans)) return spans;
      if (performance.now() > deadline) {
        const last = spans.slice(-20).map(({ traceId, name, service }) => `${traceId} ${service}: ${name}`);
        throw new Error(
          `the collector did not receive ${what}; it has ${spans.length} spans, the last:\n${last.join('\n')}`,
        );
      }
      await sleep(50);
    }
  }

  /** Ends it; what it had received is in its file then. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(kill);
  }
}

function configuration(endpoint: string, grpc: string, received: string): string {
  // JSON is YAML.
  return JSON.stringify({
    receivers: { otlp: { protocols: { http: { endpoint }, grpc: { endpoint: grpc } } } },
    exporters: { file: { path: received, flush_interval: '100ms' } },
    service: {
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['file'] } },
    },
  });
}

async function ready(child: ChildProcess): Promise<void> {
  let log = '';
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (why: string): void => reject(new Error(`the OpenTelemetry Collector ${why}:\n${log}`));
  const timer = setTimeout(() => fail('did not come up'), START_TIMEOUT_MS);
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    // The log is read on, so that it never blocks on a full pipe; only its beginning is kept.
    if (log.length < 16_384) log += text;
    if (log.includes('Everything is ready')) resolve();
  });
  child.once('error', (error) => fail(`could not be started (${error.message})`));
  child.once('exit', (code) => fail(`ended with ${code}`));
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** OTLP's JSON, as far as it is read here. */
interface Batch {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValue[] };
    readonly scopeSpans?: readonly { readonly spans?: readonly JsonSpan[] }[];
  }[];
}
interface KeyValue {
  readonly key: string;
  readonly value?: Value;
}
interface Value {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
  readonly arrayValue?: { readonly values?: readonly Value[] };
}
interface JsonSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly kind?: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly KeyValue[];
  readonly status?: { readonly code?: number; readonly message?: string };
}

const SERVER = 2;
const CLIENT = 3;
const ERROR = 2;

function spansOfBatch(batch: Batch): ReceivedSpan[] {
  return (batch.resourceSpans ?? []).flatMap(({ resource, scopeSpans }) => {
    const about = plain(resource?.attributes);
    const spans = (scopeSpans ?? []).flatMap((scope) => scope.spans ?? []);
    return spans.map((span) => receivedSpan(span, about));
  });
}

function receivedSpan(span: JsonSpan, resource: Readonly<Record<string, unknown>>): ReceivedSpan {
  const service = resource['service.name'];
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId ?? '',
    name: span.name,
    service: typeof service === 'string' ? service : '',
    kind: span.kind === SERVER ? 'server' : span.kind === CLIENT ? 'client' : 'other',
    failed: span.status?.code === ERROR,
    message: span.status?.message ?? '',
    tracestate: span.traceState ?? '',
    start: BigInt(span.startTimeUnixNano),
    end: BigInt(span.endTimeUnixNano),
    attributes: plain(span.attributes),
    resource,
  };
}

function plain(attributes: readonly KeyValue[] | undefined): Record<string, unknown> {
  return Object.fromEntries((attributes ?? []).map(({ key, value }) => [key, plainValue(value)]));
}

function plainValue(value: Value | undefined): unknown {
  if (value?.intValue !== undefined) return Number(value.intValue);
  if (value?.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plainValue);
  return value?.stringValue ?? value?.doubleValue ?? value?.boolValue;
}
