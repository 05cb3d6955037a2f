import { isOtlpEndpoint, OTLP_ENDPOINT_ALLOWED } from '../compile/telemetry/endpoint.ts';
import { compileFilter } from '../compile/telemetry/filter.ts';
import type { MeshSettings } from '../model/egress-policy.ts';
import { type AccessLogging, LOG_PROVIDERS, type Telemetry, type Tracing } from '../model/telemetry.ts';
import { type FieldProblem, show } from '../schema/validate.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';
import { checkAttachment } from './check-targets.ts';

const MAX_TAGS = 32;
const MAX_TAG_CHARS = 128;
const MAX_TAG_VALUE_CHARS = 256;

/** What a schema cannot say of a Telemetry. Whether a provider exists is another object's: ../compile/telemetry/plan.ts. */
export function checkTelemetry(telemetry: Telemetry): FieldProblem[] {
  const { accessLogging = [], tracing = [] } = telemetry.spec ?? {};
  return [
    ...checkAttachment(telemetry),
    ...accessLogging.flatMap((each, i) => checkLogging(each, ['spec', 'accessLogging', i])),
    ...tracing.flatMap((each, i) => checkTracing(each, ['spec', 'tracing', i])),
  ];
}

function checkLogging({ filter, providers = [] }: AccessLogging, path: Path): FieldProblem[] {
  const found = duplicates(providers, ({ name }) => name, [...path, 'providers'], 'provider');
  const expression = filter?.expression;
  if (expression === undefined) return found;
  const result = compileFilter(expression);
  if (result.ok) return found;
  const { value, message, allowed } = result.problem;
  return [...found, { path: [...path, 'filter', 'expression'], atKey: false, message, value, allowed }];
}

function checkTracing({ providers = [], customTags = {} }: Tracing, path: Path): FieldProblem[] {
  const found: FieldProblem[] = [];
  // Istio, too, sends spans to one.
  if (providers.length > 1)
    found.push(problem([...path, 'providers'], 'spans go to one provider', providers.length, 'one provider'));
  const tags = Object.entries(customTags);
  if (tags.length > MAX_TAGS)
    found.push(problem([...path, 'customTags'], 'too many', tags.length, `at most ${MAX_TAGS}`));
  for (const [name, tag] of tags) {
    const at = [...path, 'customTags', name];
    if (name.length > MAX_TAG_CHARS) found.push(notAllowed(at, name, `at most ${MAX_TAG_CHARS} characters`));
    const kinds = Object.keys(tag);
    const [kind] = kinds;
    if (kinds.length !== 1 || kind !== 'literal') {
      const message = 'a tag is a literal: what a request or an environment says is not put into spans';
      found.push(problem(at, message, kinds.join(', '), '{literal: {value: text}}'));
      continue;
    }
    const value = (tag['literal'] as { value?: unknown } | null)?.value;
    if (typeof value !== 'string' || value.length > MAX_TAG_VALUE_CHARS)
      found.push(
        notAllowed([...at, 'literal', 'value'], value, `a text of at most ${MAX_TAG_VALUE_CHARS} characters`),
      );
  }
  return found;
}

/** What a schema cannot say of MeshSettings. */
export function checkMeshSettings({ spec }: MeshSettings): FieldProblem[] {
  const { telemetryProviders = [] } = spec;
  const path = ['spec', 'telemetryProviders'];
  return [
    ...duplicates(telemetryProviders, ({ name }) => name, path, 'provider'),
    ...telemetryProviders.flatMap(({ name, otlp: { endpoint } }, i): FieldProblem[] => [
      ...(LOG_PROVIDERS.some((each) => each === name)
        ? [problem([...path, i, 'name'], `${show(name)} is built in`, name, 'another name')]
        : []),
      ...(isOtlpEndpoint(endpoint)
        ? []
        : [notAllowed([...path, i, 'otlp', 'endpoint'], endpoint, OTLP_ENDPOINT_ALLOWED)]),
    ]),
  ];
}
