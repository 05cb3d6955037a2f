/** Connections of applications that the rules at their source refused or cut, as one node's ztunnel counts them. */
export interface Refusals {
  readonly node: string;
  /** Why: `policy`, `registry-only`, `not-told`, `changed` (cut by a change of the rules). */
  readonly reason: string;
  /** The policies that select the caller, joined by a comma and a space; empty where none has a say. */
  readonly policy: string;
  readonly count: number;
}

const LINE = /^loam_egress_refused_total\{reason="([^"]*)",policy="([^"]*)"\} (\d+)/;

/** Reads them from a ztunnel's metrics. */
export function parseRefusals(node: string, metrics: string): Refusals[] {
  return metrics.split('\n').flatMap((line) => {
    const [, reason, policy, count] = LINE.exec(line) ?? [];
    return reason === undefined || policy === undefined
      ? []
      : [{ node, reason, policy, count: Number(count) }];
  });
}
