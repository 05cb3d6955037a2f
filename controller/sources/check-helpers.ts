import { type FieldProblem, show } from '../schema/validate.ts';

/** Keys and indexes from an object's root to a field. */
export type Path = readonly (string | number)[];

/** A wrong field; `value` and `allowed` as the reader should see them. */
export function problem(path: Path, message: string, value?: unknown, allowed?: string): FieldProblem {
  return {
    path,
    atKey: false,
    message,
    ...(value === undefined ? {} : { value: show(value) }),
    ...(allowed === undefined ? {} : { allowed }),
  };
}

/** A value that is not one of those that are; the message names it, for readers who see nothing else. */
export function notAllowed(path: Path, value: unknown, allowed: string): FieldProblem {
  return problem(path, `${show(value)} is not allowed`, value, allowed);
}

/** Reports each item whose key occurred before. */
export function duplicates<T>(
  items: readonly T[],
  key: (item: T) => string | undefined,
  path: Path,
  what: string,
): FieldProblem[] {
  const seen = new Set<string>();
  return items.flatMap((item, i) => {
    const text = key(item);
    if (text === undefined) return [];
    if (seen.has(text)) return [problem([...path, i], `${what} ${show(text)} occurs twice`)];
    seen.add(text);
    return [];
  });
}
