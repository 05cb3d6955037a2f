import { definitions, type Definition } from '../../cli/install/crds.ts';
import { code, pageOf, table } from './markdown.ts';

const INTRODUCTION = `What the definitions of an installation (\`deploy/crds\`) hold, as \`kubectl explain\` tells it in a cluster. \`[]\` is each element of a
list, \`{}\` each value of a map. Beside the schema the controller checks more, and tells it in the object's status.`;
const SEE: Readonly<Record<string, string>> = {
  TrafficPolicy: '[Page with examples](../traffic-policy.md).',
  EgressPolicy: '[Page with examples](../egress-policy.md).',
  MeshSettings: '[Page with examples](../egress-policy.md#meshsettings).',
  ServiceEntry: '[What of it there is](../service-entry.md).',
};

/** What of JSON schema the definitions use. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
}

interface Versioned {
  readonly versions: readonly {
    readonly name: string;
    readonly schema?: { readonly openAPIV3Schema?: Schema };
  }[];
}

function allowedOf(schema: Schema): string {
  const range = (least: number | undefined, most: number | undefined, what: string): string[] =>
    least === undefined && most === undefined
      ? []
      : [
          most === undefined
            ? `at least ${least}${what}`
            : least === undefined
              ? `at most ${most}${what}`
              : `${least} to ${most}${what}`,
        ];
  return [
    ...(schema.enum === undefined ? [] : [schema.enum.map((each) => `\`${String(each)}\``).join(', ')]),
    ...range(schema.minimum, schema.maximum, ''),
    ...range(schema.minItems, schema.maxItems, ' elements'),
  ].join('; ');
}

/** A row for each field below `schema`, the way to it first. */
function rowsOf(schema: Schema, path: string): string[][] {
  const below = (child: Schema, way: string, required: boolean): string[][] => [
    [
      code(way),
      `${child.type ?? 'any'}${required ? ', required' : ''}`,
      allowedOf(child),
      child.description ?? '',
    ],
    ...rowsOf(child, way),
  ];
  if (schema.items !== undefined) return rowsOf(schema.items, `${path}[]`);
  if (typeof schema.additionalProperties === 'object')
    return rowsOf(schema.additionalProperties, `${path}{}`);
  return Object.entries(schema.properties ?? {}).flatMap(([name, child]) =>
    below(child, path === '' ? name : `${path}.${name}`, schema.required?.includes(name) ?? false),
  );
}

function sectionOf(definition: Definition): string {
  const { kind } = definition.spec.names;
  const { name, schema } =
    (definition.spec as unknown as Versioned).versions.find(({ schema: each }) => each) ?? {};
  const spec = schema?.openAPIV3Schema?.properties?.['spec'];
  if (spec === undefined) throw new Error(`${kind} has no schema of its spec`);
  return [
    `## ${kind}`,
    `\`${definition.spec.group}/${name}\`, ${definition.spec.scope === 'Cluster' ? 'of the cluster' : 'of a namespace'}. ${SEE[kind] ?? ''}`.trim(),
    table(['field', 'type', 'allowed', 'meaning'], rowsOf(spec, 'spec')),
  ].join('\n\n');
}

export function kindsPage(): string {
  const all = definitions();
  const isGateway = ({ spec }: Definition): boolean => spec.group === 'gateway.networking.k8s.io';
  const gateway = all.filter(isGateway).map(({ spec }) => [
    spec.names.kind,
    spec.versions
      .filter(({ served }) => served)
      .map(({ name }) => code(`${spec.group}/${name}`))
      .join(', '),
  ]);
  const rest = all.filter((definition) => !isGateway(definition));
  const rank = ({ spec }: Definition): number => (spec.group === 'loam.dev' ? 0 : 1);
  return pageOf(
    'Kinds',
    INTRODUCTION,
    ...rest.toSorted((a, b) => rank(a) - rank(b)).map(sectionOf),
    '## Gateway API',
    'Unchanged files of the Gateway API, installed only where they are absent. Its own pages describe the fields; which of its features hold is in `docs/conformance`.',
    table(['kind', 'versions served'], gateway),
  );
}
