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
