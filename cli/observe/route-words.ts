import type { CatalogRoute, CatalogRule } from '../../lib/flow/catalog.ts';

/** An HTTPRoute or GRPCRoute as Kubernetes writes it, as far as it is shown. */
export interface RouteObject {
  readonly kind?: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: {
    readonly parentRefs?: readonly {
      readonly kind?: string;
      readonly name: string;
      readonly namespace?: string;
    }[];
    readonly rules?: readonly {
      readonly name?: string;
      readonly matches?: readonly Match[];
      readonly backendRefs?: readonly {
        readonly name?: string;
        readonly namespace?: string;
        readonly weight?: number;
      }[];
    }[];
  };
}

interface Match {
  readonly path?: { readonly type?: string; readonly value?: string };
  readonly method?: string | { readonly service?: string; readonly method?: string };
  readonly headers?: readonly { readonly name: string; readonly value: string }[];
  readonly queryParams?: readonly { readonly name: string; readonly value: string }[];
}

/** A route as the dashboard shows it. */
export function routeOf({ kind = 'HTTPRoute', metadata, spec }: RouteObject): CatalogRoute {
  const { name, namespace = 'default' } = metadata;
  return {
    ...{ kind, namespace, name },
    parents: (spec.parentRefs ?? []).map((ref) => `${ref.namespace ?? namespace}/${ref.name}`),
    rules: (spec.rules ?? []).map((rule, index): CatalogRule => {
      const backends = rule.backendRefs ?? [];
      // Without a weight it is 1 (Gateway API).
      const total = backends.reduce((sum, { weight = 1 }) => sum + weight, 0);
      return {
        key: `${kind}/${namespace}/${name}#${rule.name ?? index}`,
        matches: (rule.matches ?? []).map(matchInWords),
        backends: backends.map((ref) => ({
          service: `${ref.namespace ?? namespace}/${ref.name ?? ''}`,
          share: total === 0 ? 0 : (ref.weight ?? 1) / total,
        })),
      };
    }),
  };
}

function matchInWords({ path, method, headers = [], queryParams = [] }: Match): string {
  const parts = [
    typeof method === 'string' ? method : method && `${method.service ?? '*'}/${method.method ?? '*'}`,
    path &&
      `${path.type === 'Exact' ? '' : path.type === 'RegularExpression' ? '~' : ''}${path.value ?? '/'}${path.type === 'Exact' || path.type === 'RegularExpression' ? '' : '*'}`,
    ...headers.map(({ name, value }) => `${name}: ${value}`),
    ...queryParams.map(({ name, value }) => `?${name}=${value}`),
  ];
  return parts.filter((part) => part !== undefined && part !== '').join(' ');
}
