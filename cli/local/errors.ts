import { LoamError } from '../../lib/loam-error.ts';

export type LocalMeshErrorCode =
  /** A name, address or flag that the user gave is not usable. */
  | 'LOCAL_MESH_INPUT'
  /** A command of the machine (ip, mount, …) failed. */
  | 'LOCAL_MESH_COMMAND'
  /** The mesh of that name runs already, or does not run. */
  | 'LOCAL_MESH_STATE'
  /** The mesh did not become ready. */
  | 'LOCAL_MESH_NOT_READY'
  /** No more addresses, nodes or meshes fit. */
  | 'LOCAL_MESH_FULL'
  /** A program's own interface answered with something unexpected. */
  | 'LOCAL_MESH_ANSWER';

/** What goes wrong in the local mesh; the message says what to look at next. */
export class LocalMeshError extends LoamError<LocalMeshErrorCode> {}
