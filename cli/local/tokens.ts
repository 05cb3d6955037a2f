import { randomBytes } from 'node:crypto';
import { writeAtomically } from './files.ts';

/** Whom a token speaks for: a node's ztunnel, or the waypoint of a Gateway (`namespace/name`). */
export type TokenHolder = { readonly node: string } | { readonly gateway: string };

/** The bearer tokens of a mesh, in the file that its controller follows. Each holder has one, in a file of its own. */
export class TokenFile {
  readonly #path: string;
  readonly #entries = new Map<string, { readonly holder: TokenHolder; readonly token: string }>();

  /** @param path of the controller's file; written at once, without any token */
  constructor(path: string) {
    this.#path = path;
    this.#write();
  }

  /**
   * Makes a fresh token. The controller's file has it before this returns; what the holder had before is void.
   *
   * @param file where the holder reads it
   */
  issue(holder: TokenHolder, file: string): void {
    const token = randomBytes(32).toString('hex');
    writeAtomically(file, token);
    this.#entries.set(JSON.stringify(holder), { holder, token });
    this.#write();
  }

  /** Makes the holder's token void; nothing when it has none. */
  revoke(holder: TokenHolder): void {
    if (this.#entries.delete(JSON.stringify(holder))) this.#write();
  }

  #write(): void {
    const tokens = [...this.#entries.values()].map(({ holder, token }) => ({ ...holder, token }));
    writeAtomically(this.#path, JSON.stringify({ tokens }));
  }
}
