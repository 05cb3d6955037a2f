/** What `loam why` finds out, in the order in which a connection meets it. */
import { isOfPeerAuthentication } from '../../lib/mesh/policy/evaluate.ts';
import type { KernelPod } from '../mesh/reader.ts';

/**
 * `denied`: a rule forbids it; `unreachable`: nothing forbids it, and it comes nowhere all the same.
 */
export type Outcome = 'allowed' | 'denied' | 'unreachable';

/** One thing that somebody decides, or would fail at. */
export interface Step {
  /** Who: `shop/frontend on node-a`. */
  readonly where: string;
  readonly text: string;
  readonly verdict: 'passes' | 'denied' | 'fails' | 'note';
  /** The rule that decided. */
  readonly policy?: string;
}

/** One leg of the way. */
export interface Hop {
  readonly by: 'hbone' | 'plain';
  readonly to: string;
  /** As certificates prove them; of a plain leg, nobody proves anything. */
  readonly clientIdentity?: string;
  readonly serverIdentity?: string;
}

/** One way that the connection or request may take; several where one of several endpoints is chosen. */
export interface Way {
  readonly outcome: Outcome;
  readonly steps: readonly Step[];
  readonly hops: readonly Hop[];
  /** Where it ends: `pod shop/auth-1`, and its address. */
  readonly endpoint?: string;
  readonly address?: string;
  /** Of a request: which rule of which route, and to which backend. */
  readonly route?: string;
  readonly backend?: string;
  /** Of a request that is not allowed: what the client gets. */
  readonly status?: number;
  /** The rule that decided last; of what is allowed, the one that allowed it. */
  readonly policy?: string;
  /** Of what that rule is made: the kind of object that a person would look for. */
  readonly policyKind?: PolicyKind;
  /** Why not. */
  readonly reason?: string;
}

export type PolicyKind = 'AuthorizationPolicy' | 'EgressPolicy' | 'PeerAuthentication';

export interface RequestAsked {
  readonly method: string;
  readonly path: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Explanation {
  readonly source: string;
  readonly destination: string;
  /** Addresses that the pod dials for it: one, or of a pod outside of the mesh one of those that a name leads to. */
  readonly dialled: readonly string[];
  readonly request?: RequestAsked;
  /** `depends`: on which endpoint is chosen. */
  readonly outcome: Outcome | 'depends';
  readonly ways: readonly Way[];
  /** What the kernel's maps say, by pod. */
  readonly kernel: Readonly<Record<string, KernelPod>>;
}

/** What is known of a way before its end; never changed. */
export class Trail {
  readonly steps: readonly Step[];
  readonly hops: readonly Hop[];
  readonly facts: Partial<Pick<Way, 'endpoint' | 'address' | 'route' | 'backend' | 'policy' | 'policyKind'>>;

  constructor(steps: readonly Step[] = [], hops: readonly Hop[] = [], facts: Trail['facts'] = {}) {
    this.steps = steps;
    this.hops = hops;
    this.facts = facts;
  }

  passes(where: string, text: string, policy?: string, kind = kindOf(policy)): Trail {
    const step: Step = { where, text, verdict: 'passes', ...(policy !== undefined && { policy }) };
    return new Trail([...this.steps, step], this.hops, {
      ...this.facts,
      ...(policy !== undefined && { policy, policyKind: kind }),
    });
  }

  note(where: string, text: string): Trail {
    return new Trail([...this.steps, { where, text, verdict: 'note' }], this.hops, this.facts);
  }

  hop(hop: Hop): Trail {
    return new Trail(this.steps, [...this.hops, hop], this.facts);
  }

  knows(facts: Trail['facts']): Trail {
    return new Trail(this.steps, this.hops, { ...this.facts, ...facts });
  }

  allowed(): Way {
    return { outcome: 'allowed', steps: this.steps, hops: this.hops, ...this.facts };
  }

  denied(
    where: string,
    reason: string,
    policy: string | undefined,
    status?: number,
    kind = kindOf(policy),
  ): Way {
    return this.#end('denied', where, reason, policy, status, kind);
  }

  unreachable(where: string, reason: string, status?: number): Way {
    return this.#end('unreachable', where, reason, undefined, status, kindOf(undefined));
  }

  #end(
    outcome: Exclude<Outcome, 'allowed'>,
    where: string,
    reason: string,
    policy: string | undefined,
    status: number | undefined,
    kind: PolicyKind,
  ): Way {
    const { policy: _policy, policyKind: _kind, ...facts } = this.facts;
    const named = policy === undefined || policy === '' ? {} : { policy };
    const verdict = outcome === 'denied' ? 'denied' : 'fails';
    return {
      outcome,
      steps: [...this.steps, { where, text: reason, verdict, ...named }],
      hops: this.hops,
      ...facts,
      ...named,
      ...('policy' in named && { policyKind: kind }),
      reason,
      ...(status !== undefined && { status }),
    };
  }
}

/** Of a rule that is no EgressPolicy: what a PeerAuthentication becomes has names of its own (ambient-facts C7). */
function kindOf(policy: string | undefined): PolicyKind {
  return policy !== undefined && isOfPeerAuthentication(policy)
    ? 'PeerAuthentication'
    : 'AuthorizationPolicy';
}
