import type { Authenticator } from '../auth/authenticator.ts';
import type { Authority } from '../ca/root.ts';
import type { AssignmentsFeed } from '../sources/assignments.ts';
import type { Source, SourceGate } from '../sources/source.ts';
import type { ReportOf } from '../status/report.ts';

/** What the controller has from its surroundings: a directory of one machine, a Kubernetes cluster, or a copy of what one has. */
export interface Platform {
  readonly source: Source;
  /** What kubelets and the API server know of objects. */
  readonly assignments: AssignmentsFeed;
  readonly authenticator: Authenticator;
  /**
   * The mesh's certificate authority, made at first use where none is given.
   *
   * @throws ControllerError CA_ROOT that names what cannot be used
   */
  authority(): Promise<Authority>;
  /** Calls back with the authority whenever it is another one, until the signal aborts. */
  onAuthority(listener: (authority: Authority) => void, signal: AbortSignal): void;
  /** What the keys of sessions at waypoints are derived from; the same for all controllers of a mesh. */
  sessionSecret(): Promise<Uint8Array>;
  /** What else must be there before the controller is ready. */
  gates(): readonly SourceGate[];
  /**
   * Begins what is to be done beside serving, by one of all controllers.
   *
   * @param report what became of every object of some kinds
   */
  begin(report: ReportOf): void;
  /** Ends what `begin` began. */
  end(): Promise<void>;
  /** After everything else of it was closed. */
  close(): Promise<void>;
}
