/**
 * A sorted map with some entries put in, replaced or (undefined) taken out, without sorting all of it again. Neither map is
 * changed.
 *
 * @param sorted by its keys
 */
export function withChanges<T>(
  sorted: ReadonlyMap<string, T>,
  changes: ReadonlyMap<string, T | undefined>,
): Map<string, T> {
  const added = [...changes].filter(([key, value]) => value !== undefined && !sorted.has(key));
  added.sort(([a], [b]) => (a < b ? -1 : 1));
  const merged = new Map<string, T>();
  let at = 0;
  const addUntil = (limit: string | undefined): void => {
    for (; at < added.length; at += 1) {
      const [key, value] = added[at] ?? [''];
      if (limit !== undefined && key > limit) return;
      if (value !== undefined) merged.set(key, value);
    }
  };
  for (const [key, old] of sorted) {
    addUntil(key);
    const value = changes.has(key) ? changes.get(key) : old;
    if (value !== undefined) merged.set(key, value);
  }
  addUntil(undefined);
  return merged;
}
