import type { Line, Size, Style } from './layout.ts';

const ESC = '\x1b[';
const STYLES: Readonly<Record<Style, string>> = {
  plain: '',
  bold: `${ESC}1m`,
  dim: `${ESC}2m`,
  good: `${ESC}32m`,
  bad: `${ESC}1;31m`,
  warn: `${ESC}33m`,
  accent: `${ESC}36m`,
};
const RESET = `${ESC}0m`;

/** What a pod or a peer could have put into a name must not steer the terminal. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

/** One line as escape sequences, cut at the terminal's width. */
export function paintLine(line: Line, width: number, colours: boolean): string {
  let room = width;
  let out = '';
  for (const { text, style } of line) {
    if (room <= 0) break;
    const characters = [...printable(text)];
    const shown = characters.length > room ? [...characters.slice(0, room - 1), '…'] : characters;
    room -= shown.length;
    const code = colours ? STYLES[style] : '';
    out += code === '' ? shown.join('') : `${code}${shown.join('')}${RESET}`;
  }
  return out;
}

/** Paints screens on the terminal's second page, and only the lines that changed: nothing flickers. */
export class Terminal implements Disposable {
  readonly #out: NodeJS.WriteStream;
  readonly #colours: boolean;
  #painted: string[] = [];
  #draw: (size: Size) => readonly Line[] = () => [];
  readonly #onResize = (): void => {
    this.#painted = [];
    this.#out.write(`${ESC}2J`);
    this.paint(this.#draw);
  };

  constructor(out: NodeJS.WriteStream, colours: boolean) {
    this.#out = out;
    this.#colours = colours;
    out.write(`${ESC}?1049h${ESC}?25l${ESC}2J`);
    out.on('resize', this.#onResize);
  }

  /** @param draw makes the lines for a size; asked again when the size changes */
  paint(draw: (size: Size) => readonly Line[]): void {
    this.#draw = draw;
    const { columns = 80, rows = 24 } = this.#out;
    const shown = draw({ columns, rows })
      .slice(0, rows)
      .map((line) => paintLine(line, columns, this.#colours));
    let output = '';
    for (let row = 0; row < Math.max(shown.length, this.#painted.length); row++) {
      const text = shown[row] ?? '';
      if (text !== this.#painted[row]) output += `${ESC}${row + 1};1H${text}${ESC}K`;
    }
    this.#painted = shown;
    if (output !== '') this.#out.write(output);
  }

  [Symbol.dispose](): void {
    this.#out.off('resize', this.#onResize);
    this.#out.write(`${ESC}?25h${ESC}?1049l`);
  }
}
