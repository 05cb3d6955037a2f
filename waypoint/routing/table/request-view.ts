import { header, type RequestHead } from '../../http/request.ts';
import type { CompiledMatch, CompiledValue } from '../compile-matches.ts';

/** What a look-up reads of a request, worked out when it is first asked for. */
export class RequestView {
  readonly head: RequestHead;
  #query: ReadonlyMap<string, string> | undefined;

  constructor(head: RequestHead) {
    this.head = head;
  }

  /** Value of a header, several lines joined; the host has its own place in the head. */
  header(name: string): string | undefined {
    return name === 'host' ? this.head.authority : header(this.head.headers, name);
  }

  /** First values of the query's parameters, decoded as a form (a plus is a space). */
  get query(): ReadonlyMap<string, string> {
    return (this.#query ??= firstValues(this.head.query));
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

function firstValues(query: string): Map<string, string> {
  const values = new Map<string, string>();
  if (query === '') return values;
  for (const [name, value] of new URLSearchParams(query)) {
    if (!values.has(name)) values.set(name, value);
  }
  return values;
}
