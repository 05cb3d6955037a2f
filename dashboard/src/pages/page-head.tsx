import type { ComponentChildren } from 'preact';
import { catalog } from '../state.ts';

export function PageHead({
  title,
  note,
  children,
}: {
  readonly title: string;
  readonly note: string;
  readonly children?: ComponentChildren;
}) {
  return (
    <div class="page-head">
      <div>
        <small>{note}</small>
        <h1>{title}</h1>
      </div>
      {children === undefined ? null : <p class="badges">{children}</p>}
    </div>
  );
}

export function Missing({ what }: { readonly what: string }) {
  return (
    <p class="empty big">
      {catalog.value === undefined ? 'Asking the mesh …' : `There is no ${what} in force.`}
    </p>
  );
}
