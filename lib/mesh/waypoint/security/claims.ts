/** Claims that hold several values in one text, parted by spaces (RFC 8693 section 4.2; Istio adds `permission`). */
const SPACE_DELIMITED: ReadonlySet<string> = new Set(['scope', 'permission']);

/** A claim by its path through nested objects; undefined when there is none. Own properties only: names are hostile. */
export function claimAt(claims: Readonly<Record<string, unknown>>, path: readonly string[]): unknown {
  let node: unknown = claims;
  for (const name of path) {
    if (typeof node !== 'object' || node === null || Array.isArray(node) || !Object.hasOwn(node, name))
      return undefined;
    node = (node as Record<string, unknown>)[name];
  }
  return node;
}

/**
 * The texts of a claim that values are compared with: its own, those of a list, or the words of `scope` and
 * `permission`. Numbers and booleans count as they are written in JSON. An object, and a list within a list, has none.
 */
export function claimTexts(claims: Readonly<Record<string, unknown>>, path: readonly string[]): string[] {
  const claim = claimAt(claims, path);
  if (Array.isArray(claim)) return claim.flatMap((each) => scalarText(each) ?? []);
  const text = scalarText(claim);
  if (text === undefined) return [];
  const [name] = path;
  if (path.length === 1 && name !== undefined && SPACE_DELIMITED.has(name) && typeof claim === 'string')
    return text.split(' ').filter((word) => word !== '');
  return [text];
}

/** A text, number or boolean as text; undefined for everything else. */
export function scalarText(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'boolean':
      return String(value);
    default:
      return undefined;
  }
}
