/** Colours: on a terminal only, and not where NO_COLOR (https://no-color.org) or a dumb terminal says otherwise. */
export interface Colours {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly odd: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
}

const PLAIN = (text: string): string => text;
export const NO_COLOURS: Colours = { good: PLAIN, bad: PLAIN, odd: PLAIN, dim: PLAIN, bold: PLAIN };

const painted =
  (code: number) =>
  (text: string): string =>
    text === '' ? '' : `\u001b[${code}m${text}\u001b[0m`;
const ANSI: Colours = {
  good: painted(32),
  bad: painted(31),
  odd: painted(33),
  dim: painted(2),
  bold: painted(1),
};

export function coloursFor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Colours {
  const wanted = stream.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  return wanted ? ANSI : NO_COLOURS;
}
