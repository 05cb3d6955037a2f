import type { Camera, Size } from './camera.ts';
import type { Focus } from './drawn.ts';
import { onWorker, tellWorker } from './graph-worker.ts';
import { paint, type Scene, type View } from './paint.ts';

/** Shows the scene on a canvas, seen by a camera. */
export interface Painter {
  setScene(scene: Scene): void;
  setFocus(focus: Focus | undefined): void;
  /** What is seen has changed. */
  show(camera: Camera, size: Size, how?: { readonly time?: number; readonly isMoving?: boolean }): void;
  close(): void;
}

/** Paints all of it at once: for graphs of which a painting takes less than a frame. */
export class DirectPainter implements Painter {
  readonly #canvas: HTMLCanvasElement;
  #scene: Scene | undefined;
  #focus: Focus | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  setScene(scene: Scene): void {
    this.#scene = scene;
  }

  setFocus(focus: Focus | undefined): void {
    this.#focus = focus;
  }

  show(camera: Camera, size: Size, { time }: { readonly time?: number } = {}): void {
    const [width, height] = [size.width, size.height].map((each) => Math.round(each * devicePixelRatio));
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width ?? 0;
      this.#canvas.height = height ?? 0;
    }
    const context = this.#canvas.getContext('2d');
    if (context !== null && this.#scene !== undefined)
      paint(context, this.#scene, { camera, size, ratio: devicePixelRatio, focus: this.#focus, time });
    performance.mark('loam-picture');
  }

  close(): void {
    this.#scene = undefined;
  }
}

/** So much more than what is seen is painted on each side, as a share of it, for a pan to find something there. */
const MARGIN = 0.3;
/** Between these, a moving picture is only scaled. */
const MOST_SHRUNK = 0.6;
const MOST_BLOWN_UP = 1.8;

/**
 * Has a worker paint, and moves the last picture until the next one comes: a frame costs this thread nothing, however many edges
 * there are.
 */
export class WorkerPainter implements Painter {
  readonly #canvas: HTMLCanvasElement;
  readonly #end: () => void;
  /** What the picture on the canvas shows. */
  #pictured: View | undefined;
  #wanted: { readonly camera: Camera; readonly size: Size } | undefined;
  #focus: Focus | undefined;
  #hasScene = false;
  #isPainting = false;
  #isStale = false;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#end = onWorker((message) => {
      if (message.kind !== 'picture') return;
      this.#isPainting = false;
      canvas.width = message.bitmap.width;
      canvas.height = message.bitmap.height;
      canvas.getContext('bitmaprenderer')?.transferFromImageBitmap(message.bitmap);
      canvas.style.width = `${message.view.size.width}px`;
      canvas.style.height = `${message.view.size.height}px`;
      this.#pictured = message.view;
      this.#move();
      performance.mark('loam-picture');
      if (this.#isStale) this.#ask();
    });
  }

  setScene(scene: Scene): void {
    tellWorker({ kind: 'scene', scene });
    this.#hasScene = true;
    this.#isStale = true;
  }

  setFocus(focus: Focus | undefined): void {
    this.#focus = focus;
    this.#isStale = true;
  }

  show(camera: Camera, size: Size, { isMoving = false }: { readonly isMoving?: boolean } = {}): void {
    this.#wanted = { camera, size };
    this.#isStale = true;
    this.#move();
    if (!isMoving || !this.#isEnough()) this.#ask();
  }

  close(): void {
    this.#end();
  }

  /** Whether the picture does for a graph that moves: it reaches to all sides, and is neither blurred nor too small. */
  #isEnough(): boolean {
    if (this.#pictured === undefined || this.#wanted === undefined) return false;
    const { camera: then, size: painted } = this.#pictured;
    const { camera: now, size } = this.#wanted;
    const by = now.scale / then.scale;
    const [left, top] = [now.x - then.x * by, now.y - then.y * by];
    return (
      by > MOST_SHRUNK &&
      by < MOST_BLOWN_UP &&
      left <= 0 &&
      top <= 0 &&
      left + painted.width * by >= size.width &&
      top + painted.height * by >= size.height
    );
  }

  #ask(): void {
    if (this.#isPainting || !this.#hasScene || this.#wanted === undefined) return;
    const { camera, size } = this.#wanted;
    const [dx, dy] = [size.width * MARGIN, size.height * MARGIN];
    this.#isPainting = true;
    this.#isStale = false;
    tellWorker({
      kind: 'paint',
      view: {
        camera: { ...camera, x: camera.x + dx, y: camera.y + dy },
        size: { width: size.width + dx * 2, height: size.height + dy * 2 },
        ratio: devicePixelRatio,
        focus: this.#focus,
      },
    });
  }

  /** Puts the picture where the camera sees what it shows. */
  #move(): void {
    if (this.#pictured === undefined || this.#wanted === undefined) return;
    const { camera: then } = this.#pictured;
    const { camera: now } = this.#wanted;
    const by = now.scale / then.scale;
    this.#canvas.style.transform = `translate(${now.x - then.x * by}px, ${now.y - then.y * by}px) scale(${by})`;
  }
}
