import {
  type Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
  type YAMLParseError,
} from 'yaml';
import { errorText } from '../../lib/loam-error.ts';
import { show } from '../schema/validate.ts';

/** One document of a file as plain data, with the means to say where a field stands. */
export interface YamlDocument {
  readonly line: number;
  /** Plain data, or the reason why there is none. */
  readonly content:
    { readonly ok: true; readonly data: unknown } | { readonly ok: false; readonly error: YamlError };
  /** Line of a field, or of the nearest enclosing one that exists. */
  lineOf(path: readonly (string | number)[]): number;
}

export interface YamlError {
  readonly line: number;
  readonly message: string;
}

/** Aliases may be resolved this often in one document: enough for people, too few for a bomb. */
const MAX_ALIASES = 100;
const MAX_DEPTH = 100;

/**
 * Reads a file of YAML documents. Never throws: what cannot be read is an error of its document. Empty documents
 * (comments between `---`) are left out.
 */
export function parseYamlFile(text: string): YamlDocument[] {
  const lines = new LineCounter();
  let documents: Document[];
  try {
    if (nestsTooDeep(text)) throw new Error(`brackets nest deeper than ${MAX_DEPTH} levels`);
    // The parser's own search for duplicate keys takes quadratic time; `duplicateKey` below is linear.
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      uniqueKeys: false,
      version: '1.2',
      merge: true,
    });
    documents = Array.isArray(parsed) ? parsed : [];
  } catch (error) {
    const failure = { line: 1, message: `not readable as YAML: ${errorText(error)}` };
    return [{ line: 1, content: { ok: false, error: failure }, lineOf: () => 1 }];
  }
  return documents.flatMap((document) => {
    const read = readDocument(document, lines);
    return read === undefined ? [] : [read];
  });
}

function readDocument(document: Document, lines: LineCounter): YamlDocument | undefined {
  const lineAt = (offset: number | undefined): number =>
    offset === undefined ? 1 : lines.linePos(offset).line;
  const line = lineAt(document.contents?.range?.[0] ?? document.range?.[0]);
  const lineOf = (path: readonly (string | number)[]): number =>
    lineAt(offsetOf(document.contents, path)) || line;
  const fail = (at: number, message: string): YamlDocument => ({
    line,
    content: { ok: false, error: { line: at, message } },
    lineOf,
  });
  const [error] = document.errors;
  if (error !== undefined) {
    return fail(error.linePos?.[0].line ?? line, `not valid YAML: ${yamlProblem(error)}`);
  }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null))
    return undefined;
  const wrong = duplicateKey(document);
  if (wrong !== undefined) return fail(lineAt(wrong.offset), wrong.message);
  try {
    return { line, content: { ok: true, data: document.toJS({ maxAliasCount: MAX_ALIASES }) }, lineOf };
  } catch (thrown) {
    return fail(line, `not readable as YAML: ${errorText(thrown)}`);
  }
}

/** What the parser says, and what to do where that is not plain from it: a value with `: ` in it, such as a command with `::`. */
function yamlProblem({ code, message }: YAMLParseError): string {
  const hint =
    code === 'BLOCK_AS_IMPLICIT_KEY' ? '; a value that contains a colon and a blank needs quotes' : '';
  return firstLine(message) + hint;
}

/** The parser's message without the excerpt below it, and without the colon that leads to the excerpt. */
function firstLine(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/[:\s]+$/, '');
}

/** Flow collections are parsed by recursion; blocks need two columns a level, which the size limit bounds. */
function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (const char of text) {
    if (char === '[' || char === '{') depth += 1;
    else if (char === ']' || char === '}') depth = Math.max(0, depth - 1);
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

function duplicateKey(document: Document): { offset: number; message: string } | undefined {
  let found: { offset: number; message: string } | undefined;
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        const offset = (isNode(key) ? key.range?.[0] : undefined) ?? 0;
        if (!isScalar(key)) {
          found = { offset, message: 'a key must be a plain text' };
          return visit.BREAK;
        }
        const name = String(key.value);
        if (seen.has(name) && name !== '<<') {
          found = { offset, message: `field ${show(name)} occurs twice` };
          return visit.BREAK;
        }
        seen.add(name);
      }
      return undefined;
    },
  });
  return found;
}

/** Walks as far as the path exists and gives the offset of the last step: of its key in a map, of its value in a list. */
function offsetOf(root: unknown, path: readonly (string | number)[]): number | undefined {
  let node: unknown = root;
  let offset = (root as Node | null)?.range?.[0];
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      const item = node.items[step];
      if (!isNode(item)) break;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else break;
  }
  return offset;
}
