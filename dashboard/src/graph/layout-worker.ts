/** Entry of the worker that lays the graph out, so that the page stays fluid. */
import { layOut, type LayoutInput } from './layout.ts';

addEventListener('message', ({ data }: MessageEvent<{ id: number; input: LayoutInput }>) => {
  postMessage({ id: data.id, layout: layOut(data.input) });
});
