import { paintLine } from './terminal.ts';
import type { Line } from './layout.ts';
import { screen } from './screen.ts';
import { bytesText } from './text.ts';
import type { View } from './view.ts';

/** Wide enough that nothing is cut. */
const NO_WIDTH = 10_000;

/** A screen as text without any escape sequence. */
export function plainText(lines: readonly Line[]): string {
  return lines.map((line) => paintLine(line, NO_WIDTH, false).trimEnd()).join('\n');
}

/** One line for one moment, for logs and pipes. */
export function momentLine(view: View): string {
  const calls = view.edges
    .filter((edge) => edge.completed + edge.live + edge.errors > 0)
    .map((edge) => {
      const count = edge.completed + edge.live;
      const errors = edge.errors > 0 ? ` ${edge.errors} ERRORS` : '';
      return `${edge.from}→${edge.to} ${count} (${bytesText(edge.bytesSent + edge.bytesReceived)})${errors}`;
    });
  const denied = view.edges
    .filter((edge) => edge.denied + edge.cut > 0)
    .map((edge) => `${edge.from}✗${edge.to} ${edge.denied + edge.cut} denied`);
  const problems = view.problems.map(({ what, why }) => `! ${what}: ${why}`);
  return [...calls, ...denied, ...problems].join('  ') || 'no calls yet';
}

/** The closing summary: the whole screen but its hints. */
export function summaryText(view: View): string {
  return plainText(
    screen({ ...view, events: [] }).filter(
      (line) => !line.some((span) => span.style === 'accent' && span.text.startsWith(' ')),
    ),
  );
}
