import { WAYPOINT_CLASS } from '../../model/gateway-api.ts';
import { hasSelector, labelsMatch } from '../../model/labels.ts';
import { isService, namespaceOf, type Pod, type Service, type Telemetry } from '../../model/objects.ts';
import type { Objects } from '../group.ts';
import type { Condition, Outcomes } from '../outcomes.ts';
import { accepted, enforced, notAccepted, notEnforced } from '../policy-conditions.ts';
import { effective, type Providers, type TelemetryPlan, type TracingPlan } from './effective.ts';
import { unknownProviders, unsupportedFields } from './unsupported.ts';

const MAX_NAMES = 5;

/** What a Telemetry is for. */
type Scope =
  | { readonly of: 'mesh' }
  | { readonly of: 'namespace'; readonly namespace: string }
  | { readonly of: 'pods' }
  | { readonly of: 'targets'; readonly keys: readonly string[] };

/**
 * Which Telemetry counts where (Istio: Telemetry API): that of the mesh, which is the one in the root namespace without selector and targets; then that of
 * the namespace; then the one that selects the pod, or is attached to the Gateway or Service. Of two for the same, the older counts. Pure.
 */
export class TelemetryPlanner {
  readonly #providers: Providers;
  readonly #all: readonly Telemetry[];
  readonly #scopes = new Map<Telemetry, Scope>();
  readonly #byNamespace = new Map<string, Telemetry>();
  readonly #selecting = new Map<string, Telemetry[]>();
  readonly #byTarget = new Map<string, Telemetry>();
  #mesh: Telemetry | undefined;
  /** What stands before a Telemetry that does not count somewhere: where, and which. */
  readonly #losers = new Map<Telemetry, Map<Telemetry, Set<string>>>();
  readonly #used = new Map<Telemetry, Set<string>>();

  constructor({ telemetries, meshSettings }: Objects, rootNamespace: string) {
    const providers = meshSettings[0]?.spec.telemetryProviders ?? [];
    this.#providers = new Map(providers.map((each) => [each.name, each]));
    this.#all = [...telemetries].sort(olderFirst);
    for (const each of this.#all) this.#place(each, rootNamespace);
  }

  /** Whether any Telemetry is for pods by a selector. */
  selects(pod: Pod): boolean {
    return this.#selected(pod).length > 0;
  }

  /** What holds for a pod; undefined where nothing is said. Notes nothing. */
  ofPod(pod: Pod): TelemetryPlan | undefined {
    const [selected] = this.#selected(pod);
    return this.#plan([this.#mesh, this.#byNamespace.get(namespaceOf(pod)), selected]);
  }

  /** Whether any Telemetry is attached to a Service. */
  isOwn(service: Service): boolean {
    return this.#byTarget.has(`Service ${namespaceOf(service)}/${service.metadata.name}`);
  }

  /** Notes that a pod is there. */
  notePod(pod: Pod): void {
    const [winner, ...others] = this.#selected(pod);
    if (winner === undefined) return;
    const name = `pod ${namespaceOf(pod)}/${pod.metadata.name}`;
    this.#use(winner, name);
    for (const other of others) this.#lose(other, winner, name);
  }

  /**
   * What holds at a waypoint.
   *
   * @param gateway `<namespace>/<name>`
   * @param service the one that a request is for; undefined: for what is none
   * @param base what the Gateway itself says of spans
   */
  ofWaypoint(gateway: string, service?: string, base?: TracingPlan): TelemetryPlan | undefined {
    const at = (target: string): Telemetry | undefined => {
      const found = this.#byTarget.get(target);
      if (found !== undefined) this.#use(found, target);
      return found;
    };
    const levels = [
      this.#mesh,
      at(`GatewayClass ${WAYPOINT_CLASS}`),
      this.#byNamespace.get(gateway.slice(0, gateway.indexOf('/'))),
      at(`Gateway ${gateway}`),
      service === undefined ? undefined : at(`Service ${service}`),
    ];
    return this.#plan(levels, base);
  }

  /** Says of each Telemetry what came of it, when all pods and waypoints were asked for. */
  report(outcomes: Outcomes): void {
    for (const telemetry of this.#all) outcomes.add(telemetry, this.#outcome(telemetry));
  }

  #plan(levels: readonly (Telemetry | undefined)[], base?: TracingPlan): TelemetryPlan | undefined {
    const present = levels.filter((each) => each !== undefined);
    if (present.length === 0) return undefined;
    return effective(present, this.#providers, base);
  }

  #place(telemetry: Telemetry, rootNamespace: string): void {
    const { selector, targetRef, targetRefs } = telemetry.spec ?? {};
    const namespace = namespaceOf(telemetry);
    const targets = targetRefs ?? (targetRef === undefined ? [] : [targetRef]);
    if (targets.length > 0) {
      const keys = targets.map((target) => {
        const { kind, name } = target;
        if (kind === 'GatewayClass') return namespace === rootNamespace ? `GatewayClass ${name}` : '';
        return kind === 'Gateway' || isService(target) ? `${kind} ${namespace}/${name}` : '';
      });
      this.#scopes.set(telemetry, {
        of: 'targets',
        keys: targets.map(({ kind, name }) => `${kind} ${name}`),
      });
      for (const key of keys.filter((each) => each !== '')) {
        const winner = this.#byTarget.get(key);
        if (winner === undefined) this.#byTarget.set(key, telemetry);
        else this.#lose(telemetry, winner, key);
      }
      return;
    }
    if (hasSelector(selector)) {
      this.#scopes.set(telemetry, { of: 'pods' });
      const others = this.#selecting.get(namespace);
      if (others === undefined) this.#selecting.set(namespace, [telemetry]);
      else others.push(telemetry);
      return;
    }
    const isMesh = namespace === rootNamespace;
    this.#scopes.set(telemetry, isMesh ? { of: 'mesh' } : { of: 'namespace', namespace });
    const winner = isMesh ? this.#mesh : this.#byNamespace.get(namespace);
    if (winner !== undefined) this.#lose(telemetry, winner, isMesh ? 'the mesh' : `namespace ${namespace}`);
    else if (isMesh) this.#mesh = telemetry;
    else this.#byNamespace.set(namespace, telemetry);
  }

  #selected(pod: Pod): readonly Telemetry[] {
    const all = this.#selecting.get(namespaceOf(pod));
    if (all === undefined) return [];
    return all.filter(({ spec }) => labelsMatch(spec?.selector?.matchLabels, pod.metadata.labels));
  }

  #use(telemetry: Telemetry, where: string): void {
    this.#used.set(telemetry, (this.#used.get(telemetry) ?? new Set()).add(where));
  }

  #lose(telemetry: Telemetry, to: Telemetry, where: string): void {
    const losses = this.#losers.get(telemetry) ?? new Map<Telemetry, Set<string>>();
    this.#losers.set(telemetry, losses);
    losses.set(to, (losses.get(to) ?? new Set()).add(where));
  }

  #outcome(telemetry: Telemetry): { message: string; pending?: string; conditions: readonly Condition[] } {
    const where = this.#whereText(telemetry);
    const lost = [...(this.#losers.get(telemetry) ?? [])].map(
      ([winner, places]) =>
        `at ${namesText(places)} ${namespaceOf(winner)}/${winner.metadata.name}, which is older, counts`,
    );
    const unknown = unknownProviders(telemetry, this.#providers);
    const unsupported = unsupportedFields(telemetry).map((field) => `${field} is not acted on`);
    const message = [where ?? 'in force nowhere', ...lost, ...unknown, ...unsupported].join('; ');
    const isAccepted =
      unknown.length > 0 ? 'Invalid' : where === undefined && lost.length > 0 ? 'Conflicted' : undefined;
    const first = isAccepted === undefined ? accepted(message) : notAccepted(isAccepted, message);
    const shortfall =
      unknown.length > 0
        ? ('Invalid' as const)
        : lost.length > 0
          ? ('Conflicted' as const)
          : unsupported.length > 0
            ? ('UnsupportedValue' as const)
            : where === undefined
              ? ('TargetNotFound' as const)
              : undefined;
    const second = shortfall === undefined ? enforced(message) : notEnforced(shortfall, message);
    const isPending = unknown.length > 0 || (where === undefined && lost.length > 0);
    return { message, ...(isPending && { pending: message }), conditions: [first, second] };
  }

  /** Undefined: nowhere. */
  #whereText(telemetry: Telemetry): string | undefined {
    const scope = this.#scopes.get(telemetry);
    switch (scope?.of) {
      case 'mesh':
        return this.#mesh === telemetry ? 'in force in the whole mesh' : undefined;
      case 'namespace':
        return this.#byNamespace.get(scope.namespace) === telemetry
          ? `in force in namespace ${scope.namespace}`
          : undefined;
      case 'pods':
      case 'targets': {
        const used = this.#used.get(telemetry);
        return used === undefined ? undefined : `in force at ${namesText(used)}`;
      }
      case undefined:
        return undefined;
    }
  }
}

function namesText(names: ReadonlySet<string>): string {
  const all = [...names].sort();
  const more = all.length > MAX_NAMES ? ` and ${all.length - MAX_NAMES} more` : '';
  return `${all.slice(0, MAX_NAMES).join(', ')}${more}`;
}

/** The older of two, else the first by name; one without a time is the youngest. */
function olderFirst(a: Telemetry, b: Telemetry): number {
  const [timeA, timeB] = [createdAt(a), createdAt(b)];
  if (timeA !== timeB) return timeA < timeB ? -1 : 1;
  const key = (each: Telemetry): string => `${namespaceOf(each)}/${each.metadata.name}`;
  return key(a) < key(b) ? -1 : 1;
}

function createdAt({ metadata: { creationTimestamp } }: Telemetry): number {
  const time = Date.parse(creationTimestamp ?? '');
  return Number.isNaN(time) ? Infinity : time;
}
