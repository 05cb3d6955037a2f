import { header, type RequestHead } from '../../http/request.ts';
import type { CompiledMatch, CompiledValue } from '../compile-matches.ts';
import { firstValues } from './query.ts';

/** What a look-up reads of a request, worked out when it is first asked for. */
export class RequestView {
  readonly head: RequestHead;
  readonly #parameters: ReadonlySet<string>;
  #query: ReadonlyMap<string, string> | undefined;

  /** @param parameters names of all parameters that matches of the table ask for. */
  constructor(head: RequestHead, parameters: ReadonlySet<string>) {
    this.head = head;
    this.#parameters = parameters;
  }

  /** Value of a header, several lines joined; the host has its own place in the head. */
  header(name: string): string | undefined {
    return name === 'host' ? this.head.authority : header(this.head.headers, name);
  }

  /** First values of those of the table's parameters that the query has. */
  get query(): ReadonlyMap<string, string> {
    return (this.#query ??= firstValues(this.head.query, this.#parameters));
  }

  /** Whether everything but the path fits. */
  fits(match: CompiledMatch): boolean {
    return (
      (match.method === undefined || match.method === this.head.method) &&
      match.headers.every((wanted) => fitsValue(wanted, this.header(wanted.name))) &&
      match.query.every((wanted) => fitsValue(wanted, this.query.get(wanted.name)))
    );
  }
}

function fitsValue(wanted: CompiledValue, value: string | undefined): boolean {
  if (value === undefined) return false;
  return wanted.regex === undefined ? value === wanted.exact : wanted.regex.test(value);
}
