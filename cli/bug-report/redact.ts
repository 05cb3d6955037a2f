/**
 * What a report must not hold: keys, tokens, passwords, Secrets. Both by what things are called and by what they look like, and
 * what is known to be secret on this machine wherever it stands. In doubt it goes: a report without something can be asked for it.
 */
export const REDACTED = '«redacted»';

/** Members with such names hold secrets, whatever is in them. Those that name a file of one do not. */
const SECRET_NAME =
  /(^|[-_.])(token|tokens|secret|secrets|password|passwd|passphrase|credential|credentials|authorization|cookie|set-cookie|apikey|api-key|private-?key|session-?key|client-?secret|bearer)$|(token|secret|password|private[-_]?key|session[-_]?key|api[-_]?key|credential)s?$/i;
/** What is called so and holds none. */
const NO_SECRET_NAME = /(file|path|name|namespace|ref|refs|type|count|ttl|mode|policy)$/i;
/** What holds the value where another member says what it is of. */
const VALUE_NAMES = new Set(['value', 'values', 'notValues']);
/** Private members of a JSON Web Key (RFC 7518 section 6). */
const JWK_PRIVATE = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']);

/** Each begins only where a word begins: a long word of a log would else be looked through once for each of its letters. */
const PATTERNS: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, REDACTED],
  // JSON Web Tokens, service account tokens among them.
  [/(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]*eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*/g, REDACTED],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{6,}/gi, `$1 ${REDACTED}`],
  // user:password@ of an address.
  [/(?<![a-z0-9+.-])([a-z0-9+.-]+:\/\/)[^\s/:@]+:[^\s/@]+@/gi, `$1${REDACTED}@`],
  // name=value and "name": "value", as command lines, environments and logs have them.
  [
    /((?<![A-Za-z0-9_.-])(?:["']?[A-Za-z0-9_.-]*(?:token|secret|password|passwd|passphrase|api[_-]?key|private[_-]?key|session[_-]?key|credential)s?["']?)\s*[=:]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&"'}]+)/gi,
    `$1${REDACTED}`,
  ],
  // A token or key as so many hexadecimal digits; a digest of an image stays readable by its prefix.
  [/(?<!sha256:|[0-9a-fA-F])[0-9a-fA-F]{64,}(?![0-9a-fA-F])/g, REDACTED],
];

export class Redactor {
  readonly #known: readonly string[];

  /** @param known texts that are secret for certain; short ones would hit by chance and are left out */
  constructor(known: Iterable<string>) {
    this.#known = [...new Set(known)].filter((text) => text.length >= 8).sort((a, b) => b.length - a.length);
  }

  text(text: string): string {
    let safe = text;
    for (const secret of this.#known) safe = safe.replaceAll(secret, REDACTED);
    for (const [pattern, put] of PATTERNS) safe = safe.replace(pattern, put);
    return safe;
  }

  /** A value as JSON has it, with texts and names of members. */
  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((each) => this.value(each));
    if (typeof value !== 'object' || value === null) return value;
    const fields = value as Readonly<Record<string, unknown>>;
    return Object.fromEntries(
      Object.entries(fields).map(([name, each]) => [
        this.text(name),
        isSecretField(fields, name, each) ? REDACTED : this.value(each),
      ]),
    );
  }

  /** A manifest: of a Secret no data at all, of a container's environment no value. */
  manifest(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return this.value(value);
    const fields = value as Readonly<Record<string, unknown>>;
    if (fields['kind'] !== 'Secret') return this.value(withoutEnvironment(value));
    const emptied = Object.entries(fields).map(([name, each]) => [
      name,
      name === 'data' || name === 'stringData' ? REDACTED : each,
    ]);
    const { metadata } = fields as {
      readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown };
    };
    return {
      ...(this.value(Object.fromEntries(emptied)) as object),
      // kubectl keeps what was applied in an annotation.
      metadata: { name: metadata?.name, namespace: metadata?.namespace },
    };
  }
}

function isSecretField(fields: Readonly<Record<string, unknown>>, name: string, value: unknown): boolean {
  if ('kty' in fields && JWK_PRIVATE.has(name)) return true;
  if (VALUE_NAMES.has(name) && isOfSecret(fields)) return true;
  if (!SECRET_NAME.test(name) || NO_SECRET_NAME.test(name)) return false;
  return typeof value === 'string' || Array.isArray(value);
}

/** A header and what it is, as routes set and match them, and as policies ask for them. */
function isOfSecret(fields: Readonly<Record<string, unknown>>): boolean {
  return ['name', 'key', 'header'].some((each) => {
    const text = fields[each];
    if (typeof text !== 'string') return false;
    return SECRET_NAME.test(/^request\.headers\[(.*)\]$/.exec(text)?.[1] ?? text);
  });
}

function withoutEnvironment(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEnvironment);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]: [string, unknown]) => [
      name,
      name === 'env' && Array.isArray(each)
        ? each.map((entry: unknown) =>
            typeof entry === 'object' && entry !== null && 'value' in entry
              ? { ...entry, value: REDACTED }
              : entry,
          )
        : withoutEnvironment(each),
    ]),
  );
}
