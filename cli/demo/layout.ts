/** Plain ANSI (ECMA-48) colours, which every terminal has. */
export type Style = 'plain' | 'bold' | 'dim' | 'good' | 'bad' | 'warn' | 'accent';

/** A piece of a line in one style. A screen is data until terminal.ts paints it. */
export interface Span {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Span[];

/** How much room there is, in characters. */
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export function span(text: string, style: Style = 'plain'): Span {
  return { text, style };
}

/** A column of a table. */
export interface Column<Row> {
  readonly head: string;
  readonly cell: (row: Row) => Span;
  readonly align?: 'right';
  /** Where there is no room for all columns, the one with the lowest number goes first; none: it stays. */
  readonly goes?: number;
}

const GAP = '  ';
const lengthOf = (text: string): number => [...text].length;

/** Lays out rows under a head, and leaves out columns until the rest fits; the last column is not padded. */
export function table<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number = Infinity,
): Line[] {
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = columns.map(({ head }, i) =>
    Math.max(lengthOf(head), ...cells.map((row) => lengthOf(row[i]?.text ?? ''))),
  );
  let shown = columns.map((_, i) => i);
  const total = (): number =>
    shown.reduce((sum, i) => sum + (widths[i] ?? 0), 1) + GAP.length * (shown.length - 1);
  while (total() > width) {
    const next = shown
      .filter((i) => columns[i]?.goes !== undefined)
      .sort((a, b) => (columns[a]?.goes ?? 0) - (columns[b]?.goes ?? 0))[0];
    if (next === undefined) break;
    shown = shown.filter((i) => i !== next);
  }
  const line = (row: readonly Span[]): Line => [
    span(' '),
    ...shown.flatMap((i, at): Span[] => {
      const { text, style } = row[i] ?? span('');
      const padding = ' '.repeat((widths[i] ?? 0) - lengthOf(text));
      if (columns[i]?.align === 'right') return [span(padding + text, style), span(GAP)];
      return at === shown.length - 1 ? [span(text, style)] : [span(text + padding, style), span(GAP)];
    }),
  ];
  return [line(columns.map(({ head }) => span(head, 'dim'))), ...cells.map(line)];
}

/** Breaks a line between words where it is too long; further lines begin with so many blanks. */
export function wrap(line: Line, width: number, indent: number): Line[] {
  const lines: Span[][] = [[]];
  let used = 0;
  const room = Math.max(1, width - indent);
  for (const { text, style } of line)
    for (const word of words(text, room)) {
      if (used > indent && used + lengthOf(word.trimEnd()) > width) {
        lines.push([span(' '.repeat(indent), style)]);
        used = indent;
      }
      lines.at(-1)?.push(span(word, style));
      used += lengthOf(word);
    }
  return lines;
}

/** Words with the blanks behind them; what is longer than a line is cut into pieces. */
function words(text: string, most: number): string[] {
  return text.split(/(?<= )(?! )/).flatMap((word) => {
    const characters = [...word];
    if (characters.length <= most || word.trimEnd().length <= most) return [word];
    const pieces: string[] = [];
    for (let i = 0; i < characters.length; i += most) pieces.push(characters.slice(i, i + most).join(''));
    return pieces;
  });
}
