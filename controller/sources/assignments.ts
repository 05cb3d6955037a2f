import { join } from 'node:path';
import { Ajv } from 'ajv';
import type { Logger } from 'pino';
import { errorText } from '../../lib/loam-error.ts';
import { record, BOOLEAN, list, mapOf, STRING, text } from '../schema/dsl.ts';
import { FORMATS } from '../schema/formats.ts';
import { writeAtomically } from '../state-dir.ts';
import { readLimited } from './read-limited.ts';
import type { SourceGate } from './source.ts';
import { WatchedFile } from './watched-file.ts';

/** What a kubelet would report of a pod. */
export interface PodAssignment {
  readonly uid?: string;
  /** One of each family at most, the primary first. */
  readonly ips: readonly string[];
  readonly node: string;
  readonly ready?: boolean;
}

/** What stands for a Gateway: the addresses of its Service, and its processes. */
export interface GatewayAssignment {
  readonly clusterIPs: readonly string[];
  readonly instances: readonly {
    readonly name: string;
    readonly ips: readonly string[];
    readonly node: string;
    readonly ready?: boolean;
  }[];
}

/** The part of objects' status that a kubelet and an API server fill in, by "namespace/name". */
export interface Assignments {
  readonly pods: Readonly<Record<string, PodAssignment>>;
  readonly services: Readonly<Record<string, { readonly clusterIPs: readonly string[] }>>;
  readonly gateways?: Readonly<Record<string, GatewayAssignment>>;
}

export const NO_ASSIGNMENTS: Assignments = { pods: {}, services: {} };

const MAX_BYTES = 16 * 1024 * 1024;
/** In the state directory. */
export const LAST_ASSIGNMENTS_FILE = 'last-assignments.json';

const ajv = new Ajv({ strict: true });
for (const format of FORMATS) ajv.addFormat(format.name, { type: 'string', validate: format.check });
const IPS = list(text('ip'), 1);
const validate = ajv.compile<Assignments>(
  record({
    pods: mapOf(record({ uid: STRING, ips: IPS, node: text('subdomain'), ready: BOOLEAN }, ['ips', 'node'])),
    services: mapOf(record({ clusterIPs: IPS }, ['clusterIPs'])),
    gateways: mapOf(
      record(
        {
          clusterIPs: IPS,
          instances: list(
            record({ name: text('subdomain'), ips: IPS, node: text('subdomain'), ready: BOOLEAN }, [
              'name',
              'ips',
              'node',
            ]),
          ),
        },
        ['clusterIPs', 'instances'],
      ),
    ),
  }),
);

/** @throws Error with the field, when the text is not a valid assignments file */
export function parseAssignments(content: string): Assignments {
  const data: unknown = JSON.parse(content);
  if (!validate(data)) {
    const [error] = validate.errors ?? [];
    throw new Error(`${error?.instancePath ?? ''} ${error?.message ?? 'is wrong'}`);
  }
  return { pods: data.pods ?? {}, services: data.services ?? {}, gateways: data.gateways ?? {} };
}

/** Where assignments come from. Level-triggered, as `Source` is. */
export interface AssignmentsFeed {
  readonly current: Assignments;
  gate(): SourceGate;
  /** Calls back after each change until the signal aborts. */
  onChange(listener: () => void, signal: AbortSignal): void;
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface AssignmentsSourceOptions {
  readonly path: string;
  readonly stateDir: string;
  readonly log: Logger;
}

/**
 * The assignments file, followed. Its last good content survives a restart: compiling to "no pods" because a file is
 * broken would make every node forget its peers.
 */
export class AssignmentsSource implements AssignmentsFeed {
  readonly #options: AssignmentsSourceOptions;
  readonly #file: WatchedFile;
  readonly #lastGoodPath: string;
  readonly #listeners = new Set<() => void>();
  #current: Assignments | undefined;
  #error: string | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: AssignmentsSourceOptions) {
    this.#options = options;
    this.#lastGoodPath = join(options.stateDir, LAST_ASSIGNMENTS_FILE);
    this.#file = new WatchedFile({
      path: options.path,
      maxBytes: MAX_BYTES,
      onRead: (read) => this.#read(read),
    });
  }

  get current(): Assignments {
    return this.#current ?? NO_ASSIGNMENTS;
  }

  /** Why the file as it is now does not count. */
  get error(): string | undefined {
    return this.#error;
  }

  gate(): SourceGate {
    const ready = this.#current !== undefined;
    return { name: 'assignments', ready, reason: ready ? '' : (this.#error ?? 'not read yet') };
  }

  onChange(listener: () => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
  }

  async start(): Promise<void> {
    const saved = await readLimited(this.#lastGoodPath, MAX_BYTES);
    if (saved.ok) {
      try {
        this.#current = parseAssignments(saved.text);
      } catch (error) {
        this.#options.log.warn({ reason: errorText(error) }, 'the saved assignments cannot be used');
      }
    }
    await this.#file.start();
  }

  async close(): Promise<void> {
    this.#file.close();
    await this.#writing;
  }

  #read(read: { ok: true; text: string } | { ok: false; error: string }): void {
    const { path, log } = this.#options;
    try {
      if (!read.ok) throw new Error(read.error);
      this.#current = parseAssignments(read.text);
      this.#error = undefined;
      this.#save(read.text);
    } catch (error) {
      this.#error = `${path}: ${errorText(error)}`;
      log.warn(
        { path, reason: errorText(error) },
        'the assignments file does not count; its last good state stays in force',
      );
    }
    for (const listener of this.#listeners) listener();
  }

  #save(content: string): void {
    this.#writing = this.#writing
      .then(() => writeAtomically(this.#lastGoodPath, content))
      .catch((error: unknown) => this.#options.log.error({ err: error }, 'the assignments cannot be saved'));
  }
}
