/**
 * What to say about pods that left the mesh or joined it; pods that are new or gone are none of them.
 *
 * @param before whether a pod is in the mesh, by name
 */
export function enrolmentEvents(
  before: ReadonlyMap<string, boolean>,
  now: ReadonlyMap<string, boolean>,
): string[] {
  const changed = (to: boolean): string[] =>
    [...now].filter(([name, is]) => is === to && before.get(name) === !to).map(([name]) => name);
  const [left, joined] = [changed(false), changed(true)];
  const who = (names: readonly string[]): string =>
    names.length === 1 ? `pod ${names[0] ?? ''}` : `${names.length} pods`;
  const events: string[] = [];
  if (left.length > 0)
    events.push(
      `${who(left)} left the mesh: ${left.length === 1 ? 'its' : 'their'} calls are no longer seen, no policy holds`,
    );
  if (joined.length > 0) events.push(`${who(joined)} joined the mesh`);
  return events;
}
