import type { Entry } from './entry.ts';
import { PathIndex } from './path-index.ts';
import type { RequestView } from './request-view.ts';

/** Entries by hostname, then by path. */
export class HostIndex {
  readonly #exact = new Map<string, PathIndex>();
  /** By what follows the asterisk, with its dot. */
  readonly #wildcards = new Map<string, PathIndex>();
  #mostLabels = 0;
  #all: PathIndex | undefined;

  add(entry: Entry, hostname: string | undefined): void {
    this.#indexFor(hostname).add(entry);
  }

  #indexFor(hostname: string | undefined): PathIndex {
    if (hostname === undefined) return (this.#all ??= new PathIndex());
    const wildcard = hostname.startsWith('*.');
    const key = wildcard ? hostname.slice(1) : hostname;
    const indices = wildcard ? this.#wildcards : this.#exact;
    let index = indices.get(key);
    if (index === undefined) indices.set(key, (index = new PathIndex()));
    if (wildcard) this.#mostLabels = Math.max(this.#mostLabels, key.split('.').length - 1);
    return index;
  }

  /** To be called once, after the last {@link add}. */
  seal(): void {
    for (const index of this.#exact.values()) index.seal();
    for (const index of this.#wildcards.values()) index.seal();
    this.#all?.seal();
  }

  /** @param host as {@link hostOf} gives it. */
  find(view: RequestView, host: string): Entry | undefined {
    return this.#exact.get(host)?.find(view) ?? this.#findByWildcard(view, host) ?? this.#all?.find(view);
  }

  /** The longest suffix first, and no suffix of more labels than any wildcard has: a hostile host costs no more. */
  #findByWildcard(view: RequestView, host: string): Entry | undefined {
    let dots: number[] | undefined;
    let dot = host.length;
    for (let labels = 0; labels < this.#mostLabels && dot > 0; labels += 1) {
      dot = host.lastIndexOf('.', dot - 1);
      if (dot <= 0) break;
      (dots ??= []).push(dot);
    }
    for (let i = (dots?.length ?? 0) - 1; i >= 0; i -= 1) {
      const found = this.#wildcards.get(host.slice(dots?.[i]))?.find(view);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** The host of an authority, to compare with hostnames: without port, in lower case, without the root's dot. */
export function hostOf(authority: string): string {
  const host = withoutPort(authority).toLowerCase();
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

/** Host of an authority as it stands there; an IPv6 address keeps its brackets. */
export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(':');
  return colon === -1 || authority.endsWith(']') ? authority : authority.slice(0, colon);
}
