import { stripVTControlCharacters } from 'node:util';

const GAP = '  ';

/** How many places a text takes; colours take none. */
export function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

/**
 * Rows in columns, each as wide as its widest cell; the last one is not filled up.
 *
 * @param right indices of columns that are aligned at their end, as numbers are
 */
export function tableLines(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
  indent = '',
): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(0, ...rows.map((row) => widthOf(row[column] ?? ''))),
  );
  return rows.map((row) => {
    const cells = widths.map((width, column) => {
      const cell = row[column] ?? '';
      const fill = ' '.repeat(width - widthOf(cell));
      return right.includes(column) ? fill + cell : cell + fill;
    });
    return `${indent}${cells.join(GAP)}`.trimEnd();
  });
}
