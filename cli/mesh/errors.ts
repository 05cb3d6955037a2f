import { LoamError } from '../../lib/loam-error.ts';

/**
 * `MESH_INPUT`: what was asked for is not usable; `MESH_STATE`: the mesh is not as it must be for the answer; `MESH_ANSWER`: a
 * program of it answers oddly or not at all; `MESH_RIGHTS`: the user has no right to what is needed.
 */
export class MeshError extends LoamError<'MESH_INPUT' | 'MESH_STATE' | 'MESH_ANSWER' | 'MESH_RIGHTS'> {}
