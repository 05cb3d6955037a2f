/** Entry of the worker that lays the graph out and paints large ones, so that the page stays fluid. */
import { layOut, type Layout, type LayoutInput } from './layout.ts';
import { paint, type Scene, type View } from './paint.ts';

export type ToWorker =
  | { readonly kind: 'layout'; readonly id: number; readonly input: LayoutInput }
  | { readonly kind: 'scene'; readonly scene: Scene }
  | { readonly kind: 'paint'; readonly view: View };

export type FromWorker =
  | { readonly kind: 'layout'; readonly id: number; readonly layout: Layout }
  | { readonly kind: 'picture'; readonly view: View; readonly bitmap: ImageBitmap };

let scene: Scene | undefined;
let canvas: OffscreenCanvas | undefined;

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  switch (data.kind) {
    case 'layout':
      tell({ kind: 'layout', id: data.id, layout: layOut(data.input) });
      return;
    case 'scene':
      scene = data.scene;
      return;
    case 'paint':
      if (scene !== undefined) picture(scene, data.view);
  }
});

function picture(of: Scene, view: View): void {
  const [width, height] = [view.size.width, view.size.height].map((each) =>
    Math.max(1, Math.round(each * view.ratio)),
  ) as [number, number];
  if (canvas === undefined || canvas.width !== width || canvas.height !== height)
    canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  if (context === null) return;
  paint(context, of, view);
  const bitmap = canvas.transferToImageBitmap();
  tell({ kind: 'picture', view, bitmap }, [bitmap]);
}

function tell(message: FromWorker, transfer: Transferable[] = []): void {
  postMessage(message, { transfer });
}
