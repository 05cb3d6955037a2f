import { KINDS, type Kind, type KubeObject, type ObjectRef, refOf } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { FORMATS } from '../schema/formats.ts';
import { SCHEMAS } from '../schema/schemas.ts';
import { asKubeObject, type FieldProblem, fieldText, show, validateSchema } from '../schema/validate.ts';
import { checkObject } from './checks.ts';
import type { Problem } from './source.ts';
import { standInFor, type StandIn } from './stand-in.ts';
import { parseYamlFile, type YamlDocument } from './yaml-file.ts';

/** What one document of a file turned out to be. */
export type ReadDocument =
  | {
      readonly type: 'object';
      readonly line?: number;
      readonly object: KubeObject;
      /** What is doubtful about it. */
      readonly warnings?: readonly Problem[];
    }
  /** `ref` is there as far as the document says what it is about. */
  | {
      readonly type: 'bad';
      readonly line?: number;
      readonly ref?: ObjectRef;
      readonly problems: readonly Problem[];
      /** What is in force in its place where it was never right. */
      readonly standIn?: StandIn;
    }
  /** A kind that Loam does not read: an ordinary thing in a directory of manifests. */
  | { readonly type: 'ignored'; readonly problem: Problem };

/** Where an object comes from, for messages. */
export interface Place {
  readonly file: string;
  readonly line?: number;
  /** Line of a field, where there are lines. */
  lineOf(path: readonly (string | number)[]): number | undefined;
}

/** Kinds under these groups are ours to understand: one that we do not know must not be passed over in silence. */
const OWN_GROUPS = ['security.istio.io/', 'telemetry.istio.io/', 'loam.dev/'];
/** Kinds of the Gateway API that somebody may rely on, and that are not to be taken for misspelt ones of ours. */
const UNSUPPORTED = ['TCPRoute', 'TLSRoute', 'UDPRoute'];
const API_VERSIONS = [...new Set(Object.values(SCHEMAS).flatMap(({ apiVersions }) => apiVersions))];
/** Kinds in whose spec "nothing" would have a meaning. */
const NULL_MATTERS: readonly Kind[] = [
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'TrafficPolicy',
  'EgressPolicy',
  'MeshSettings',
  'ServiceEntry',
  'Telemetry',
];
const ORDINARY_KIND = /^[A-Za-z0-9]{1,63}$/;
const NAME = FORMATS.find((format) => format.name === 'subdomain');

/** Reads and checks all documents of one manifest file. `file` is used in messages. */
export function readManifest(file: string, text: string): ReadDocument[] {
  return parseYamlFile(text).map((document) => readDocument(file, document));
}

function readDocument(file: string, document: YamlDocument): ReadDocument {
  const { line, content } = document;
  const place: Place = { file, line, lineOf: (path) => document.lineOf(path) };
  if (!content.ok) {
    const problem: Problem = {
      severity: 'error',
      file,
      line: content.error.line,
      message: content.error.message,
    };
    return { type: 'bad', line, problems: [problem] };
  }
  const { data } = content;
  if (!isRecord(data)) {
    return bad(place, undefined, [
      wholeProblem('a manifest must be a map with apiVersion, kind and metadata'),
    ]);
  }
  const kind = data['kind'];
  const apiVersion = data['apiVersion'];
  const known = KINDS.find((k) => k === kind);
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
    const [missing, allowed] =
      typeof kind === 'string'
        ? ['apiVersion', known === undefined ? API_VERSIONS : SCHEMAS[known].apiVersions]
        : ['kind', KINDS];
    return bad(place, data, [
      {
        path: [missing],
        atKey: false,
        message: data[missing] === undefined ? `${missing} is missing` : `${missing} must be a text`,
        ...(data[missing] === undefined ? {} : { value: show(data[missing]) }),
        allowed: allowed.join(', '),
      },
    ]);
  }
  if (known === undefined) return unknownKind(place, data, kind, apiVersion);
  const { apiVersions } = SCHEMAS[known];
  if (!apiVersions.includes(apiVersion)) {
    return badKnown(place, known, data, [
      {
        path: ['apiVersion'],
        atKey: false,
        message: `${show(apiVersion)} is not allowed`,
        value: show(apiVersion),
        allowed: apiVersions.join(', '),
      },
    ]);
  }
  return readObject(place, known, data);
}

/** Reads an object of a kind that is known, whatever it is written in. */
export function readObject(place: Place, kind: Kind, data: Record<string, unknown>): ReadDocument {
  const object = withoutNulls(kind, data);
  const problems = validateSchema(kind, object);
  if (problems.length === 0) problems.push(...checkObject(asKubeObject(object)));
  if (problems.length > 0) return badKnown(place, kind, data, problems);
  return { type: 'object', ...lineAt(place.line), object: asKubeObject(object) };
}

function unknownKind(
  place: Place,
  data: Record<string, unknown>,
  kind: string,
  apiVersion: string,
): ReadDocument {
  // `kubectl get -o yaml` writes lists: what is in them would go unread, and what they replace would be gone.
  if (kind === 'List' || KINDS.some((known) => kind === `${known}List`)) {
    return bad(place, undefined, [
      {
        path: ['kind'],
        atKey: false,
        message: 'a list is not read: make each item a document of its own, with a line "---" between them',
        value: show(kind),
        allowed: KINDS.join(', '),
      },
    ]);
  }
  const isUnsupported = UNSUPPORTED.includes(kind);
  const guess = isUnsupported ? undefined : didYouMean(kind, KINDS);
  const isOwn = OWN_GROUPS.some((group) => apiVersion.startsWith(group));
  if (guess !== undefined || isOwn || isUnsupported) {
    const hint = guess === undefined ? '' : `; did you mean ${show(guess)}?`;
    return bad(place, data, [
      {
        path: ['kind'],
        atKey: false,
        message: isUnsupported ? `Loam does not support ${kind} yet` : `unknown kind ${show(kind)}${hint}`,
        value: show(kind),
        allowed: KINDS.join(', '),
      },
    ]);
  }
  const ref = refFrom(data);
  const about = ref === undefined ? aboutOf(data) : undefined;
  const problem: Problem = {
    severity: 'warning',
    file: place.file,
    ...lineAt(place.line),
    ...(ref === undefined ? {} : { object: ref }),
    ...(about === undefined ? {} : { about }),
    field: 'kind',
    value: show(kind),
    message: `Loam does not read the kind ${show(kind)}; the document is passed over`,
    allowed: KINDS.join(', '),
  };
  return { type: 'ignored', problem };
}

function wholeProblem(message: string): FieldProblem {
  return { path: [], atKey: false, message };
}

/** A broken document of a kind that may need something strict in its place. */
function badKnown(
  place: Place,
  kind: Kind,
  data: Record<string, unknown>,
  problems: readonly FieldProblem[],
): ReadDocument {
  const standIn = standInFor(kind, data);
  return { ...bad(place, data, problems), ...(standIn !== undefined && { standIn }) };
}

function bad(
  place: Place,
  data: Record<string, unknown> | undefined,
  problems: readonly FieldProblem[],
): ReadDocument {
  const ref = data === undefined ? undefined : refFrom(data);
  const about = data === undefined || ref !== undefined ? undefined : aboutOf(data);
  return {
    type: 'bad',
    ...lineAt(place.line),
    ...(ref === undefined ? {} : { ref }),
    problems: problems.map((found) => ({
      severity: 'error',
      file: place.file,
      ...lineAt(place.lineOf(found.path)),
      ...(ref === undefined ? {} : { object: ref }),
      ...(about === undefined ? {} : { about }),
      ...(found.path.length === 0 ? {} : { field: fieldText(found.path) }),
      ...(found.value === undefined ? {} : { value: found.value }),
      message: found.message,
      ...(found.allowed === undefined ? {} : { allowed: found.allowed }),
    })),
  };
}

function lineAt(line: number | undefined): { line?: number } {
  return line === undefined ? {} : { line };
}

/** For a reader to recognise the document by; nothing of it is known to be true. */
function aboutOf({ kind, metadata }: Record<string, unknown>): string | undefined {
  if (typeof kind !== 'string') return undefined;
  const name = isRecord(metadata) ? metadata['name'] : undefined;
  const what = ORDINARY_KIND.test(kind) ? kind : show(kind);
  return name === undefined ? `${what} without a name` : `${what} ${show(name)}`;
}

/** What a document claims to be about; only as far as the names are well formed. */
function refFrom(data: Record<string, unknown>): ObjectRef | undefined {
  const { kind, metadata } = data;
  if (typeof kind !== 'string' || !isRecord(metadata)) return undefined;
  const { name, namespace } = metadata;
  if (typeof name !== 'string' || NAME?.check(name) !== true) return undefined;
  if (
    namespace !== undefined &&
    namespace !== null &&
    (typeof namespace !== 'string' || !NAME.check(namespace))
  )
    return undefined;
  return refOf({
    kind,
    metadata: { name, ...(typeof namespace === 'string' ? { namespace } : {}) },
  } as KubeObject);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Kubernetes reads `field: null` as "not set". So do we, except inside the spec of a policy: there `from:` with nothing
 * behind it would turn into a rule that matches everyone.
 */
function withoutNulls(kind: Kind, data: Record<string, unknown>): unknown {
  const isPolicy = NULL_MATTERS.includes(kind);
  return stripNulls(data, isPolicy ? 'spec' : undefined);
}

function stripNulls(value: unknown, keep?: string): unknown {
  if (Array.isArray(value)) return value.map((item) => stripNulls(item));
  if (!isRecord(value)) return value;
  const entries = Object.entries(value).flatMap(([key, item]): [string, unknown][] => {
    if (item === null && key !== keep) return [];
    return [[key, key === keep ? item : stripNulls(item)]];
  });
  return Object.fromEntries(entries);
}
