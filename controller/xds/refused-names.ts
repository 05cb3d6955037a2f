const NAME_CHAR = /[-A-Za-z0-9._/]/;
/** Our clients write a quarter of it. A message of gRPC's size, searched for each of some thousand names, takes seconds. */
const MAX_SEARCHED_CHARS = 16 * 1024;

/**
 * Which resources of a message a refusal is about. Our clients name what they refuse and apply the rest; a text that
 * names none may be about each of them, and so may one that names them too late to be read.
 */
export function refusedNames(text: string, names: readonly string[]): readonly string[] {
  const searched = text.slice(0, MAX_SEARCHED_CHARS);
  const named = names.filter((name) => isNamed(name, searched));
  return named.length > 0 ? named : names;
}

/** Whether a text has the name as a word of its own: `route/a` is not in `route/ab`. */
function isNamed(name: string, text: string): boolean {
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    const [before = ' ', after = ' '] = [text[at - 1], text[at + name.length]];
    if (!NAME_CHAR.test(before) && !NAME_CHAR.test(after)) return true;
  }
  return false;
}
