import type { ComponentChildren } from 'preact';
import { selection } from '../state.ts';

/** Beside the graph; below it where there is little room. */
export function Panel({
  title,
  kind,
  children,
}: {
  readonly title: string;
  readonly kind: string;
  readonly children: ComponentChildren;
}) {
  return (
    <aside class="panel" aria-label={`${kind} ${title}`}>
      <div class="panel-head">
        <div>
          <small>{kind}</small>
          <h2>{title}</h2>
        </div>
        <button type="button" class="quiet" aria-label="Close" onClick={() => (selection.value = undefined)}>
          ✕
        </button>
      </div>
      {children}
    </aside>
  );
}
