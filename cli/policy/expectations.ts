import { parseDocument } from 'yaml';
import { MeshError } from '../mesh/errors.ts';
import { findPod, findTarget } from '../mesh/find.ts';
import { explain } from '../why/explain.ts';
import type { Explanation, RequestAsked } from '../why/model.ts';
import type { World } from '../why/world.ts';

const VERDICTS = ['allowed', 'denied', 'unreachable'] as const;
type Verdict = (typeof VERDICTS)[number];

/** One line of a file of expectations. */
export interface Expectation {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly request?: RequestAsked;
  readonly expect: Verdict;
  /** The rule that shall decide. */
  readonly policy?: string;
}

export interface Verified {
  readonly expectation: Expectation;
  readonly holds: boolean;
  readonly outcome: Explanation['outcome'];
  /** Rules that decided, one for each way. */
  readonly policies: readonly string[];
  /** Why it does not hold. */
  readonly problem?: string;
}

const FIELDS = ['name', 'from', 'to', 'request', 'host', 'expect', 'policy'];
export const FILE_FORM = `tests:
  - from: shop/frontend
    to: shop/payments:80
    request: POST /charge        # where a waypoint reads requests
    expect: allowed              # or denied, unreachable
    policy: shop/only-charges    # optional: the rule that shall decide
  - {from: kiosk/frontend, to: "shop/db:6379", expect: denied}`;

/** Reads a file of expectations. @throws MeshError MESH_INPUT naming the entry, its field and what is allowed */
export function readExpectations(file: string, text: string): Expectation[] {
  const document = parseDocument(text);
  const [broken] = document.errors;
  if (broken !== undefined) throw new MeshError('MESH_INPUT', `${file} is no YAML: ${broken.message}`);
  const value = document.toJS() as { readonly tests?: unknown } | null;
  const { tests } = value ?? {};
  if (!Array.isArray(tests) || tests.length === 0)
    throw new MeshError('MESH_INPUT', `${file}: tests: missing; allowed: a list such as\n${FILE_FORM}`);
  return tests.map((each: unknown, i) => readOne(`${file}: tests[${i}]`, each));
}

function readOne(where: string, value: unknown): Expectation {
  const wrong = (field: string, what: unknown, allowed: string): MeshError =>
    new MeshError(
      'MESH_INPUT',
      `${where}.${field}: ${JSON.stringify(what) ?? 'missing'}; allowed: ${allowed}`,
    );
  if (typeof value !== 'object' || value === null)
    throw wrong('', value, `an object of ${FIELDS.join(', ')}`);
  const entry = value as Readonly<Record<string, unknown>>;
  const odd = Object.keys(entry).find((field) => !FIELDS.includes(field));
  if (odd !== undefined) throw wrong(odd, entry[odd], FIELDS.join(', '));
  const text = (field: string, allowed: string): string => {
    const given = entry[field];
    if (typeof given !== 'string' || given === '') throw wrong(field, given, allowed);
    return given;
  };
  const from = text('from', 'a pod, NAMESPACE/NAME');
  const to = text('to', 'a pod, Service or address with its port');
  const expect = VERDICTS.find((each) => each === entry['expect']);
  if (expect === undefined) throw wrong('expect', entry['expect'], VERDICTS.join(', '));
  const request = entry['request'] === undefined ? undefined : readRequest(text('request', 'METHOD /path'));
  if (entry['request'] !== undefined && request === undefined)
    throw wrong('request', entry['request'], 'METHOD /path, as in GET /');
  return {
    name: entry['name'] === undefined ? `${from} → ${to}` : text('name', 'a text'),
    ...{ from, to, expect },
    ...(request && {
      request: { ...request, ...(entry['host'] !== undefined && { host: text('host', 'a host name') }) },
    }),
    ...(entry['policy'] !== undefined && { policy: text('policy', 'NAMESPACE/NAME') }),
  };
}

function readRequest(text: string): RequestAsked | undefined {
  const [, method, path] = /^([A-Z]+) (\/\S*)$/.exec(text) ?? [];
  return method === undefined || path === undefined ? undefined : { method, path };
}

/** Asks the mesh about each. @throws MeshError MESH_INPUT for a pod or Service that is not there */
export function verifyAll(world: World, expectations: readonly Expectation[]): Promise<Verified[]> {
  return Promise.all(expectations.map((expectation) => verifyOne(world, expectation)));
}

async function verifyOne(world: World, expectation: Expectation): Promise<Verified> {
  const { from, to, request, expect, policy } = expectation;
  const { target, port } = findTarget(world.inventory, to);
  const ports = target.kind === 'service' ? target.service.ports : [];
  const asked = port ?? (ports.length === 1 ? ports[0]?.port : undefined);
  if (asked === undefined)
    throw new MeshError('MESH_INPUT', `${expectation.name}: say which port: to: ${to}:PORT`);
  const source = findPod(world.inventory, from);
  const { outcome, ways } = await explain(world, {
    source,
    target,
    port: asked,
    ...(request && { request }),
  });
  const policies = [...new Set(ways.flatMap((way) => way.policy?.split(', ') ?? []))];
  const reasons = [...new Set(ways.flatMap(({ reason }) => reason ?? []))].join('; ');
  const problem =
    outcome !== expect
      ? `it is ${outcome}${reasons === '' ? '' : `: ${reasons}`}`
      : policy !== undefined && !policies.includes(policy)
        ? `it is so by ${policies.join(', ') || 'no policy'}`
        : undefined;
  return {
    ...{ expectation, holds: problem === undefined, outcome, policies },
    ...(problem !== undefined && { problem }),
  };
}
