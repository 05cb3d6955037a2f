/** The runtime's list of network plugins, with ours at its end: as text in, as text out. */
import { isRecord } from '../../../lib/kubernetes/resource.ts';

export const PLUGIN_TYPE = 'loam-cni';

/** Our entry in the list; cni/loam-cni.c reads it. */
export interface PluginEntry {
  readonly socket: string;
  readonly outside: string;
  /** Namespaces whose pods pass while there is no agent. */
  readonly exempt: readonly string[];
}

/**
 * A list with our entry at its end.
 *
 * @param text of a file of the runtime's folder of networks
 * @returns undefined when it is so already
 * @throws Error that says what the file is not
 */
export function withPlugin(text: string, entry: PluginEntry): string | undefined {
  const list = listIn(text);
  const wanted = { type: PLUGIN_TYPE, ...entry };
  if (JSON.stringify(list.plugins.at(-1)) === JSON.stringify(wanted)) return undefined;
  return textOf(list.all, [...list.plugins.filter((plugin) => !isOurs(plugin)), wanted]);
}

/** A list without our entry. @returns undefined when it has none, or when the file is no list */
export function withoutPlugin(text: string): string | undefined {
  let list: ReturnType<typeof listIn>;
  try {
    list = listIn(text);
  } catch {
    return undefined;
  }
  const others = list.plugins.filter((plugin) => !isOurs(plugin));
  return others.length === list.plugins.length ? undefined : textOf(list.all, others);
}

function listIn(text: string): { all: Readonly<Record<string, unknown>>; plugins: readonly unknown[] } {
  const all: unknown = JSON.parse(text);
  const plugins = isRecord(all) ? all['plugins'] : undefined;
  if (!isRecord(all) || !Array.isArray(plugins) || plugins.length === 0)
    throw new Error('it is no list of plugins (`plugins` is missing), to which another can be added');
  return { all, plugins: plugins as unknown[] };
}

function isOurs(plugin: unknown): boolean {
  return isRecord(plugin) && plugin['type'] === PLUGIN_TYPE;
}

function textOf(all: Readonly<Record<string, unknown>>, plugins: readonly unknown[]): string {
  return `${JSON.stringify({ ...all, plugins }, null, 2)}\n`;
}
