import type { CatalogPolicy } from '../../lib/flow/catalog.ts';

/** A policy of any kind as Kubernetes writes it. */
export interface PolicyObject {
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
}

const DRY_RUN = ['istio.io/dry-run', 'loam.dev/dry-run'];

/** What a policy is about, in words that a person reads at a glance. */
export function policyInWords(
  policy: PolicyObject,
): Pick<CatalogPolicy, 'kind' | 'namespace' | 'name' | 'action' | 'target' | 'rules' | 'dryRun'> {
  const { kind = '', metadata, spec = {} } = policy;
  return {
    kind,
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    action: actionOf(kind, spec),
    target: targetOf(spec),
    rules: rulesOf(kind, spec),
    dryRun: DRY_RUN.some((name) => metadata.annotations?.[name] === 'true'),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

function actionOf(kind: string, spec: Fields): string {
  switch (kind) {
    case 'AuthorizationPolicy':
      return typeof spec['action'] === 'string' ? spec['action'] : 'ALLOW';
    case 'PeerAuthentication': {
      const mode = fields(spec['mtls'])['mode'];
      return typeof mode === 'string' ? mode : 'UNSET';
    }
    case 'EgressPolicy':
      return 'ALLOW';
    default:
      return '';
  }
}

function targetOf(spec: Fields): string {
  const refs = [...list(spec['targetRefs']), ...(spec['targetRef'] === undefined ? [] : [spec['targetRef']])];
  if (refs.length > 0)
    return refs
      .map(fields)
      .map(({ kind, name }) => `${text(kind)} ${text(name)}`)
      .join(', ');
  const labels = Object.entries(fields(fields(spec['selector'])['matchLabels']));
  return labels.length === 0
    ? 'the whole namespace'
    : `pods with ${labels.map(([key, value]) => `${key}=${text(value)}`).join(', ')}`;
}

function rulesOf(kind: string, spec: Fields): string[] {
  switch (kind) {
    case 'AuthorizationPolicy': {
      const rules = list(spec['rules']).map(fields);
      return rules.map((rule) => {
        const parts = [
          clauses(
            'from',
            list(rule['from']).map((each) => fields(fields(each)['source'])),
          ),
          clauses(
            'to',
            list(rule['to']).map((each) => fields(fields(each)['operation'])),
          ),
          clauses('when', list(rule['when']).map(fields)),
        ].filter((part) => part !== '');
        return parts.length === 0 ? 'anything' : parts.join(', ');
      });
    }
    case 'EgressPolicy':
      return list(spec['allow']).map((rule) => compact(rule));
    default:
      return Object.entries(spec)
        .filter(([key]) => !['selector', 'targetRefs', 'targetRef'].includes(key))
        .map(([key, value]) => `${key}: ${compact(value)}`);
  }
}

function clauses(word: string, all: readonly Fields[]): string {
  if (all.length === 0) return '';
  return `${word} ${all
    .map((each) =>
      Object.entries(each)
        .map(([key, value]) => `${key} ${compact(value)}`)
        .join(' and '),
    )
    .join(' or ')}`;
}

function compact(value: unknown): string {
  if (Array.isArray(value)) return value.map(compact).join(' | ');
  if (typeof value !== 'object' || value === null) return text(value);
  return Object.entries(value)
    .map(([key, each]) => `${key} ${compact(each)}`)
    .join(', ');
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
