import { createHash, timingSafeEqual } from 'node:crypto';
import { Ajv } from 'ajv';
import type { Logger } from 'pino';
import { errorText } from '../../lib/loam-error.ts';
import { list, record, text } from '../schema/dsl.ts';
import { FORMATS } from '../schema/formats.ts';
import { WatchedFile } from '../sources/watched-file.ts';
import type { Principal } from './principal.ts';

const MAX_BYTES = 4 * 1024 * 1024;
const MIN_TOKEN_LENGTH = 16;
const MAX_TOKEN_LENGTH = 1024;
const BEARER = /^Bearer ([\x21-\x7e]+)$/i;

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
export class TokenTable {
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

  get ready(): boolean {
    return this.#entries !== undefined;
  }

  start(): Promise<void> {
    return this.#file.start();
  }

  close(): void {
    this.#file.close();
  }

  /** Calls back after each change, so that streams of revoked tokens can be ended. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Whom an `authorization` header proves, or undefined when it proves nothing. Takes the same time for any token. */
  principalOf(authorization: string | undefined): Principal | undefined {
    const token = BEARER.exec(authorization ?? '')?.[1];
    if (token === undefined || token.length > MAX_TOKEN_LENGTH) return undefined;
    const digest = digestOf(token);
    let principal: Principal | undefined;
    for (const entry of this.#entries ?? []) {
      const same = timingSafeEqual(entry.digest, digest);
      principal = same ? entry.principal : principal;
    }
    return principal;
  }
}
