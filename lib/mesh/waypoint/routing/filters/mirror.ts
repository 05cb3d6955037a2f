import type { Mirror } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { otherStep, Phase } from '../weights/phase.ts';

const phases = new WeakMap<Mirror, Phase>();

/**
 * Whether this request is among those that are mirrored.
 *
 * @param index of the filter in its list: several mirrors of one rule decide independently of each other and of the
 * choice of the backend.
 */
export function drawMirror(mirror: Mirror, index: number): boolean {
  const { numerator, denominator } = mirror;
  if (mirror.backend === undefined || mirror.backend.invalid !== '' || numerator === 0) return false;
  if (numerator >= denominator) return true;
  let phase = phases.get(mirror);
  if (phase === undefined) phases.set(mirror, (phase = new Phase(otherStep(index))));
  return phase.next() * denominator < numerator;
}
