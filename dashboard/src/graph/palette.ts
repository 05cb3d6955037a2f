import type { Health } from './health.ts';

export interface Palette {
  readonly line: Readonly<Record<Health, string>>;
  readonly tone: Readonly<Record<Health, string>>;
  readonly label: string;
  readonly text: string;
  readonly muted: string;
  readonly border: string;
  readonly raised: string;
  readonly group: string;
  readonly accent: string;
  readonly lock: string;
  readonly plain: string;
  readonly bad: string;
}

/** Reads the colours out of the style sheet, so that there is one place for them. */
export function paletteOf(element: HTMLElement): Palette {
  // A canvas knows no light-dark(): an element tells what comes of it.
  const probe = document.createElement('span');
  element.append(probe);
  const of = (name: string): string => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const [good, warn, bad, idle] = [of('--good'), of('--warn'), of('--bad'), of('--edge-idle')];
  const palette = {
    line: { idle, good: of('--edge'), warn, bad, denied: bad },
    tone: { idle, good, warn: good, bad: good, denied: bad },
    label: of('--surface'),
    text: of('--text'),
    muted: of('--muted'),
    border: of('--border'),
    raised: of('--raised'),
    group: of('--group'),
    accent: of('--accent'),
    lock: good,
    plain: warn,
    bad,
  };
  probe.remove();
  return palette;
}
