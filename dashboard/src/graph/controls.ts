import type { Camera } from './camera.ts';
import type { Layout } from './layout.ts';

export interface Gestures {
  readonly begin: () => Camera;
  readonly pan: (next: Camera) => void;
  /** A click on what is no card. */
  readonly choose: (event: PointerEvent) => void;
}

/** So far a pointer may slip in a click. */
const SLIP_PX = 4;

const WAYS: Readonly<Record<string, readonly [dx: number, dy: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Follows a pointer that went down until it is up: it pans, or chooses. */
export function followPointer(down: PointerEvent, element: HTMLElement | null, gestures: Gestures): void {
  if ((down.target as Element).closest('.node, .zoom') !== null || down.button !== 0 || element === null)
    return;
  element.setPointerCapture(down.pointerId);
  const begin = gestures.begin();
  let moved = false;
  const onMove = (move: PointerEvent): void => {
    const [dx, dy] = [move.clientX - down.clientX, move.clientY - down.clientY];
    if (!moved && Math.hypot(dx, dy) < SLIP_PX) return;
    moved = true;
    gestures.pan({ ...begin, x: begin.x + dx, y: begin.y + dy });
  };
  const onUp = (up: PointerEvent): void => {
    element.removeEventListener('pointermove', onMove);
    element.removeEventListener('pointerup', onUp);
    element.removeEventListener('pointercancel', onUp);
    if (!moved && up.type === 'pointerup') gestures.choose(up);
  };
  element.addEventListener('pointermove', onMove);
  element.addEventListener('pointerup', onUp);
  element.addEventListener('pointercancel', onUp);
}

/** The nearest node in the way of an arrow key. */
export function nextNode({ nodes }: Layout, id: string, key: string): string | undefined {
  const from = nodes[id];
  const [dx, dy] = WAYS[key] ?? [0, 0];
  if (from === undefined) return undefined;
  let best: { readonly id: string; readonly cost: number } | undefined;
  for (const [other, at] of Object.entries(nodes)) {
    const [x, y] = [at.x - from.x, at.y - from.y];
    const along = x * dx + y * dy;
    const cost = along + 2.5 * Math.abs(x * dy + y * dx);
    if (along > 1 && (best === undefined || cost < best.cost)) best = { id: other, cost };
  }
  return best?.id;
}
