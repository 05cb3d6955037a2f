import { paintLine } from './terminal.ts';
import type { Line } from './layout.ts';
import { screen } from './screen.ts';
import { bytesText, percentText } from './text.ts';
import type { View } from './view.ts';

/** Wide enough that nothing is cut. */
const NO_WIDTH = 10_000;

/** A screen as text without any escape sequence. */
export function plainText(lines: readonly Line[]): string {
  return lines.map((line) => paintLine(line, NO_WIDTH, false).trimEnd()).join('\n');
}

/** One line for one moment, for logs and pipes. */
export function momentLine(view: View): string {
  const requests = view.requests.map(({ from, to, count, hidden, fallbacks, errors }) => {
    const notes = [
      hidden > 0 ? `${hidden} failures hidden` : '',
      fallbacks > 0 ? `${fallbacks} by fallback` : '',
      errors > 0 ? `${errors} ERRORS` : '',
    ].filter((note) => note !== '');
    return `${from}→${to} ${count}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`;
  });
  const splits = view.splits.map(
    ({ backend, measured }) => `${backend} ${measured === undefined ? '-' : percentText(measured)}`,
  );
  const calls = view.edges
    .filter((edge) => edge.completed + edge.live + edge.errors > 0 && !view.isHop(edge))
    .map((edge) => {
      const count = edge.completed + edge.live;
      const errors = edge.errors > 0 ? ` ${edge.errors} ERRORS` : '';
      return `${edge.from}→${edge.to} ${count} (${bytesText(edge.bytesSent + edge.bytesReceived)})${errors}`;
    });
  const denied = view.edges
    .filter((edge) => edge.denied + edge.cut > 0)
    .map((edge) => `${edge.from}✗${edge.to} ${edge.denied + edge.cut} denied`);
  const deniedRequests = view.deniedRequests.map(
    ({ from, to, method, path, times }) => `${from}✗${to} ${method} ${path} ${times} denied`,
  );
  const problems = view.problems.map(({ what, why }) => `! ${what}: ${why}`);
  return (
    [...requests, ...splits, ...calls, ...denied, ...deniedRequests, ...problems].join('  ') || 'no calls yet'
  );
}

/** The closing summary: the whole screen but its hints. */
export function summaryText(view: View): string {
  return plainText(
    screen({ ...view, events: [] }).filter(
      (line) => !line.some((span) => span.style === 'accent' && span.text.startsWith(' ')),
    ),
  );
}
