/** Words of Markdown that the generated pages are made of. */

const GENERATED = 'Made from the code by `npm run docs:reference`; a test compares the two.';

/** A table; a cell is one line, and a `|` in it is no border. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('\n', ' ').replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(heads), `|${'---|'.repeat(heads.length)}`, ...rows.map(line)].join('\n');
}

/** Text that is shown as it stands, or nothing for none. */
export function code(text: string | undefined): string {
  return text === undefined || text === '' ? '' : `\`${text}\``;
}

export function fence(language: string, text: string): string {
  return `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``;
}

/** A page of these parts, with the note that it is generated. */
export function pageOf(title: string, ...parts: readonly string[]): string {
  return `${[`# ${title}`, ...parts, `*${GENERATED}*`].join('\n\n')}\n`;
}
