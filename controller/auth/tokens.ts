import { createHash, timingSafeEqual } from 'node:crypto';
import { Ajv } from 'ajv';
import type { Logger } from 'pino';
import type { Metadata } from '@grpc/grpc-js';
import { errorText } from '../../lib/loam-error.ts';
import { list, record, text } from '../schema/dsl.ts';
import { FORMATS } from '../schema/formats.ts';
import type { SourceGate } from '../sources/source.ts';
import { WatchedFile } from '../sources/watched-file.ts';
import { type Authenticator, bearerToken } from './authenticator.ts';
import type { Principal } from './principal.ts';

const MAX_BYTES = 4 * 1024 * 1024;
const MIN_TOKEN_LENGTH = 16;
const MAX_TOKEN_LENGTH = 1024;

interface TokensFile {
  readonly tokens: readonly {
    readonly node?: string;
    /** `<namespace>/<name>`. */
    readonly gateway?: string;
    readonly token: string;
  }[];
}

const ajv = new Ajv({ strict: true });
for (const format of FORMATS) ajv.addFormat(format.name, { type: 'string', validate: format.check });
const validate = ajv.compile<TokensFile>(
  record(
    {
      tokens: list(
        record(
          {
            node: text('subdomain'),
            gateway: text('gateway-key'),
            token: { type: 'string', minLength: MIN_TOKEN_LENGTH, maxLength: MAX_TOKEN_LENGTH },
          },
          ['token'],
        ),
      ),
    },
    ['tokens'],
  ),
);

interface Entry {
  readonly principal: Principal;
  /** Comparing digests makes all comparisons equally long; the token itself is not kept. */
  readonly digest: Buffer;
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** @throws Error naming the wrong field, never its value: tokens are secrets */
export function parseTokens(content: string): Entry[] {
  let data: unknown;
  try {
    data = JSON.parse(content);
  } catch {
    throw new Error('not valid JSON');
  }
  if (!validate(data)) {
    const [error] = validate.errors ?? [];
    throw new Error(`${error?.instancePath ?? ''} ${error?.message ?? 'is wrong'}`);
  }
  if (new Set(data.tokens.map(({ token }) => token)).size < data.tokens.length) {
    throw new Error('two entries have the same token');
  }
  return data.tokens.map(({ node, gateway, token }, i) => {
    const digest = digestOf(token);
    if (node !== undefined && gateway === undefined) return { principal: { kind: 'node', node }, digest };
    if (gateway !== undefined && node === undefined)
      return { principal: { kind: 'gateway', gateway }, digest };
    throw new Error(`/tokens/${i} needs either node or gateway`);
  });
}

/** Whom a bearer token belongs to; followed from a file. */
export class TokenTable implements Authenticator {
  readonly #file: WatchedFile;
  readonly #listeners = new Set<() => void>();
  #entries: Entry[] | undefined;

  constructor(path: string, log: Logger) {
    this.#file = new WatchedFile({
      path,
      maxBytes: MAX_BYTES,
      onRead: (read) => {
        try {
          if (!read.ok) throw new Error(read.error);
          this.#entries = parseTokens(read.text);
        } catch (error) {
          // Fail closed only for what is new: tokens that were valid stay so until the file says otherwise.
          log.error(
            { path, reason: errorText(error) },
            'the tokens file does not count; the tokens known so far stay valid',
          );
        }
        for (const listener of this.#listeners) listener();
      },
    });
  }

  gate(): SourceGate {
    const ready = this.#entries !== undefined;
    return { name: 'tokens', ready, reason: ready ? '' : 'no tokens file read yet' };
  }

  start(): Promise<void> {
    return this.#file.start();
  }

  close(): void {
    this.#file.close();
  }

  /** Calls back after each change, so that streams of revoked tokens can be ended. */
  onChange(listener: () => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
  }

  /** Takes the same time for any token. */
  authenticate(metadata: Metadata): Promise<Principal | undefined> {
    const token = bearerToken(metadata, MAX_TOKEN_LENGTH);
    return Promise.resolve(token === undefined ? undefined : this.#principalOf(token));
  }

  #principalOf(token: string): Principal | undefined {
    const digest = digestOf(token);
    let principal: Principal | undefined;
    for (const entry of this.#entries ?? []) {
      const same = timingSafeEqual(entry.digest, digest);
      principal = same ? entry.principal : principal;
    }
    return principal;
  }
}
