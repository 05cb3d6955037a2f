/** What is otherwise in a cluster than an installation has it. */

const MAX_VALUE = 100;
/** Others may rightly change these: autoscalers, and whoever gives programs more room. */
const OF_OTHERS = new Set(['replicas', 'resources']);

type Json = Readonly<Record<string, unknown>>;

/**
 * Where something that is found is not what is wanted, each as `field is A, and not B`. Fields that only the found one has do not
 * count: the API server and others fill in what nobody named.
 *
 * @param path of the field, for the text
 */
export function differences(wanted: unknown, found: unknown, path = ''): string[] {
  if (isNothing(wanted)) return [];
  if (Array.isArray(wanted)) {
    const list = Array.isArray(found) ? (found as unknown[]) : [];
    if (wanted.every((each) => nameIn(each) !== undefined))
      return wanted.flatMap((each) =>
        differences(
          each,
          list.find((other) => nameIn(other) === nameIn(each)),
          `${path}[${nameIn(each)}]`,
        ),
      );
    // Of a list of values the whole is told: a capability that is gone is seen beside those that are there.
    if (wanted.some((each) => !isJson(each)))
      return JSON.stringify(wanted) === JSON.stringify(list) ? [] : [difference(wanted, found, path)];
    if (wanted.length !== list.length) return [difference(wanted, found, path)];
    return wanted.flatMap((each, at) => differences(each, list[at], `${path}[${at}]`));
  }
  if (isJson(wanted)) {
    if (!isJson(found)) return [difference(wanted, found, path)];
    return Object.entries(wanted).flatMap(([key, value]) =>
      OF_OTHERS.has(key) ? [] : differences(value, found[key], path === '' ? key : `${path}.${key}`),
    );
  }
  return wanted === found ? [] : [difference(wanted, found, path)];
}

function difference(wanted: unknown, found: unknown, path: string): string {
  return `${path} is ${text(found)}, and not ${text(wanted)}`;
}

function text(value: unknown): string {
  const json = value === undefined ? 'absent' : JSON.stringify(value);
  return json.length <= MAX_VALUE ? json : `${json.slice(0, MAX_VALUE)}…`;
}

/** What the API server leaves out as soon as it is written. */
function isNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function nameIn(value: unknown): string | undefined {
  const name = isJson(value) ? value['name'] : undefined;
  return typeof name === 'string' ? name : undefined;
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
