import { asKubeObject, fieldText } from '../../schema/validate.ts';
import { type KubeObject, objectKey, type ObjectRef } from '../../model/objects.ts';
import { checkObject } from '../checks.ts';
import type { ReadFile } from '../accept.ts';
import { type Place, readObject } from '../read-object.ts';
import type { Problem } from '../source.ts';
import { CORE_KINDS, type ReadKind } from './kinds.ts';
import type { Picked } from './pick.ts';

/** Stands for "which file" in what was made for files: each object of the API is one of its own. */
export function placeOf(ref: ObjectRef): string {
  return objectKey(ref);
}

/** Reads one object of the API server's as the directory's documents are read. */
export function readPicked({ kind }: ReadKind, ref: ObjectRef, { object }: Picked): ReadFile {
  const file = placeOf(ref);
  if (CORE_KINDS.includes(kind)) {
    const found = asKubeObject(object);
    const warnings = coreWarnings(file, ref, found);
    return { file, documents: [{ type: 'object', object: found, ...(warnings.length > 0 && { warnings }) }] };
  }
  const place: Place = { file, lineOf: () => undefined };
  return { file, documents: [readObject(place, kind, object)] };
}

/**
 * What Loam would refuse in a manifest of a Pod, Service, Namespace or ServiceAccount. The API server runs it all the same, and
 * a mesh that passed it over would be of another opinion than the kernel.
 */
function coreWarnings(file: string, object: ObjectRef, found: KubeObject): Problem[] {
  return checkObject(found).map(({ path, value, message, allowed }) => ({
    severity: 'warning',
    file,
    object,
    field: fieldText(path),
    ...(value !== undefined && { value }),
    message,
    ...(allowed !== undefined && { allowed }),
  }));
}
