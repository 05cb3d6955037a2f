/** One line of `loam check`. */
export interface Finding {
  readonly state: 'pass' | 'fail' | 'note';
  /** What was looked at: `agents`, `node node1`. */
  readonly what: string;
  /** What was found. */
  readonly text: string;
  /** What to do about it; there when it failed. */
  readonly mend?: string;
}

export function pass(what: string, text: string): Finding {
  return { state: 'pass', what, text };
}

export function fail(what: string, text: string, mend: string): Finding {
  return { state: 'fail', what, text, mend };
}

/** Worth knowing, and nothing that keeps Loam from working. */
export function note(what: string, text: string): Finding {
  return { state: 'note', what, text };
}

/**
 * The mend of a label. A pod has its labels of what makes it, and the next one would have the old label again.
 *
 * @param change as `kubectl label` takes it: `KEY=VALUE`, `KEY-`
 */
export function labelMend(
  kind: string,
  { namespace = '', name = '' }: { readonly namespace?: string; readonly name?: string },
  change: string,
): string {
  const inTemplate = kind === 'Pod' ? 'in what makes the pod; for this one: ' : '';
  const of = `${kind.toLowerCase()} ${name}${namespace === '' ? '' : ` -n ${namespace}`}`;
  return `mend the label: ${inTemplate}kubectl label ${of} ${change}`;
}
