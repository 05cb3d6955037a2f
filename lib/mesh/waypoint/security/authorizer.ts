import type { RequestHead } from '../request.ts';
import type { CompiledPolicy, PolicyAction } from './compile-policy.ts';
import { type ConnectionFacts, Subject } from './subject.ts';

/** What a policy on trial would have done. */
export interface DryRunResult {
  readonly policy: string;
  readonly action: PolicyAction;
  readonly matched: boolean;
}

/** For logs, whatever the verdict is. */
interface Observed {
  readonly dryRun: readonly DryRunResult[];
  /** AUDIT policies that match. */
  readonly audit: readonly string[];
}

export type Decision = Observed &
  (
    | {
        readonly verdict: 'allow';
        /** The ALLOW policy that matched; undefined where none applies. */
        readonly policy: string | undefined;
      }
    | {
        readonly verdict: 'deny';
        /** The policy that denied; where no ALLOW policy matched, the names of them all, joined by ", ". */
        readonly policy: string;
        /** For the log. The client is told nothing of it. */
        readonly reason: string;
      }
  );

const NOTHING: readonly never[] = [];

/** Decides whether a request for one Service may pass. */
export class Authorizer {
  readonly #deny: readonly CompiledPolicy[];
  readonly #allow: readonly CompiledPolicy[];
  readonly #audit: readonly CompiledPolicy[];
  readonly #dryRun: readonly CompiledPolicy[];
  readonly #missing: readonly string[];
  readonly #allowNames: string;

  /**
   * @param policies those that apply to the Service
   * @param missing names that the Service lists and that are not known: they deny everything
   */
  constructor(policies: readonly CompiledPolicy[], missing: readonly string[] = []) {
    const enforced = (action: PolicyAction): CompiledPolicy[] =>
      policies.filter((policy) => !policy.dryRun && policy.action === action);
    this.#deny = enforced('deny');
    this.#allow = enforced('allow');
    this.#audit = enforced('audit');
    this.#dryRun = policies.filter((policy) => policy.dryRun);
    this.#missing = missing;
    this.#allowNames = this.#allow.map(({ key }) => key).join(', ');
  }

  /**
   * Istio's order: a policy on trial is only reported; a DENY that matches denies; without ALLOW policies all else is
   * allowed; with them, one must match. Unlike Istio, a policy that is listed and not known denies.
   */
  evaluate(head: RequestHead): Decision {
    return this.#decide(new Subject(head, head));
  }

  /**
   * The same for a connection that passes unread (opaque TCP, TLS). What only a request has counts against it: it is
   * matched in a DENY and not matched in an ALLOW.
   */
  evaluateConnection(connection: ConnectionFacts): Decision {
    return this.#decide(new Subject(connection));
  }

  #decide(subject: Subject): Decision {
    const observed = {
      dryRun:
        this.#dryRun.length === 0
          ? NOTHING
          : this.#dryRun.map(({ key, action, matches }) => ({
              policy: key,
              action,
              matched: matches(subject),
            })),
      audit:
        this.#audit.length === 0
          ? NOTHING
          : this.#audit.filter(({ matches }) => matches(subject)).map(({ key }) => key),
    };
    const denying = this.#deny.find(({ matches }) => matches(subject));
    if (denying !== undefined)
      return { verdict: 'deny', policy: denying.key, reason: denialReason(denying), ...observed };
    const [unknown] = this.#missing;
    if (unknown !== undefined)
      return { verdict: 'deny', policy: unknown, reason: `policy ${unknown} is not known`, ...observed };
    if (this.#allow.length === 0) return { verdict: 'allow', policy: undefined, ...observed };
    const allowing = this.#allow.find(({ matches }) => matches(subject));
    if (allowing !== undefined) return { verdict: 'allow', policy: allowing.key, ...observed };
    return {
      verdict: 'deny',
      policy: this.#allowNames,
      reason: 'allow policies exist, but none allowed',
      ...observed,
    };
  }
}

function denialReason({ key, unsupported }: CompiledPolicy): string {
  return unsupported === undefined
    ? `denied by policy ${key}`
    : `denied by policy ${key}, which denies everything since it cannot be enforced: ${unsupported}`;
}
