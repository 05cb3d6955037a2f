/** What is noted of each pod, and told in the log when it changes: passes come again and again, lines must not. */
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { UncoveredProcess } from './node-port.ts';
import { podName, type PodProblem, type PodRecord, type PodState } from './pod-record.ts';
import type { Guard } from './redirection-port.ts';

export class PodJournal {
  readonly #log: Log;
  readonly #clock: Clock;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Notes what is wrong with a pod; logged once as long as it is the same. */
  problem(record: PodRecord, problem: PodProblem): void {
    record.problem = problem;
    if (record.logged === problem.message) return;
    record.logged = problem.message;
    this.#log.warn({ pod: podName(record.spec), ...problem }, 'a pod is not in order');
  }

  state(record: PodRecord, state: PodState): void {
    if (record.state === state) return;
    record.state = state;
    record.since = this.#clock.now();
    this.#log.info({ pod: podName(record.spec), state }, 'the state of a pod changed');
  }

  uncovered(record: PodRecord, uncovered: readonly UncoveredProcess[]): void {
    const known = new Set(record.uncovered.map(({ pid }) => pid));
    record.uncovered = uncovered;
    for (const { pid, command, cgroup } of uncovered) {
      if (known.has(pid)) continue;
      const fields = { pod: podName(record.spec), pid, command, cgroup };
      this.#log.error(fields, 'a process of the pod is outside of the cgroup that redirection covers');
    }
  }

  /** Notes what stands guard over a pod. @returns the interfaces where it stood, and had to be put back */
  guard(record: PodRecord, now: Guard | undefined): readonly string[] {
    const before = record.guard;
    record.guard = now;
    const unguarded = now?.unguarded ?? [];
    if (unguarded.length > 0 && before?.unguarded.join() !== unguarded.join()) {
      const fields = { pod: podName(record.spec), devices: unguarded };
      this.#log.warn(fields, 'what leaves the pod by these interfaces is not guarded');
    }
    const stood = new Set(before?.guarded.map((each) => each.name));
    return (now?.attached ?? []).filter((each) => stood.has(each));
  }
}
