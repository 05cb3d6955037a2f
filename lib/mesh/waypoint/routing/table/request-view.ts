import { header, type RequestHead } from '../../request.ts';
import type { CompiledMatch, CompiledValue, FullMatch } from '../compile-matches.ts';

/** Instructions of regular expressions times characters, of one request: some tens of milliseconds at the worst. */
export const MAX_REGEX_COST = 250_000;

/** What a look-up reads of a request, worked out when it is first asked for. */
export class RequestView {
  readonly head: RequestHead;
  #spent = 0;
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
      match.headers.every((wanted) => this.#fitsValue(wanted, this.header(wanted.name))) &&
      match.query.every((wanted) => this.#fitsValue(wanted, this.query.get(wanted.name)))
    );
  }

  /**
   * Tests a text within what one request may cost. Beyond it nothing matches any more and the look-up is void
   * ({@link tooCostly}): whoever writes a route for a shared waypoint must not be able to stop it for the others.
   */
  test(regex: FullMatch, text: string): boolean {
    this.#spent += regex.cost * (text.length + 1);
    return !this.tooCostly && regex.test(text);
  }

  get tooCostly(): boolean {
    return this.#spent > MAX_REGEX_COST;
  }

  #fitsValue(wanted: CompiledValue, value: string | undefined): boolean {
    if (value === undefined) return false;
    return wanted.regex === undefined ? value === wanted.exact : this.test(wanted.regex, value);
  }
}

function firstValues(query: string): Map<string, string> {
  const values = new Map<string, string>();
  if (query === '') return values;
  for (const [name, value] of new URLSearchParams(query)) {
    if (!values.has(name)) values.set(name, value);
  }
  return values;
}
