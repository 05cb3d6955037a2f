const AT_ONCE = 8;

/** Does something for each of many, some at a time. @returns the results in the order of the many @throws what the first that failed threw */
export async function eachOf<T, R>(many: readonly T[], body: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let at = next++; at < many.length; at = next++) results[at] = await body(many[at] as T);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, many.length) }, worker));
  return results;
}
