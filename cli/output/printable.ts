/** Text for a terminal: what peers wrote (names, paths, reasons) must not move its cursor, set its title or forge lines. */

/** Control characters, C1 among them, and what turns the direction of writing (CVE-2021-42574) or ends a line. */
const CONTROLS = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
const ESCAPE = '\u001b';
/** The colours of colours.ts, and no other sequence. */
const OWN_COLOURS = new RegExp(`(${ESCAPE}\\[(?:0|1|2|31|32|33)m)`);

/** One line as it may be shown: its own colours stay, any other control character is told as `\xNN` or `\uNNNN`. */
export function printableLine(line: string): string {
  return line
    .split(OWN_COLOURS)
    .map((part, index) => (index % 2 === 1 ? part : part.replace(CONTROLS, escaped)))
    .join('');
}

/** Several lines, each as {@link printableLine} has it. */
export function printableText(text: string): string {
  return text.split('\n').map(printableLine).join('\n');
}

/** JSON with the same characters escaped as JSON does it: a reader gets the same value. */
export function printableJson(text: string): string {
  return text.replace(CONTROLS, (char) =>
    char === '\n' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function escaped(char: string): string {
  const hex = char.charCodeAt(0).toString(16);
  return hex.length <= 2 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`;
}
