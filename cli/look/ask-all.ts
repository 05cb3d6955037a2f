import { errorText } from '../../lib/loam-error.ts';
import type { MeshInventory, MeshReader, ProgramRef } from '../mesh/reader.ts';
import { programName } from '../mesh/reader.ts';

/** The answers of several programs, and why some did not answer. */
export interface Answers<T> {
  readonly answers: readonly { readonly program: ProgramRef; readonly answer: T }[];
  readonly problems: readonly string[];
}

/** The ztunnels and waypoints of a mesh. */
export function dataPlane({ nodes, waypoints }: MeshInventory): ProgramRef[] {
  return [...ztunnels({ nodes }), ...waypointsOf({ waypoints })];
}

export function ztunnels({ nodes }: Pick<MeshInventory, 'nodes'>): ProgramRef[] {
  return nodes.map((node) => ({ program: 'ztunnel', node }));
}

export function waypointsOf({ waypoints }: Pick<MeshInventory, 'waypoints'>): ProgramRef[] {
  return waypoints.map(({ namespace, instance }) => ({ program: 'waypoint', namespace, instance }));
}

/** Asks all of them at once; who does not answer is told, and keeps nothing from the others. */
export async function askAll<T>(
  reader: MeshReader,
  programs: readonly ProgramRef[],
  path: string,
): Promise<Answers<T>> {
  const answers: { program: ProgramRef; answer: T }[] = [];
  const problems: string[] = [];
  await Promise.all(
    programs.map(async (program) => {
      try {
        answers.push({ program, answer: (await reader.get(program, path)) as T });
      } catch (error) {
        problems.push(`${programName(program)} does not answer: ${errorText(error)}`);
      }
    }),
  );
  const order = (program: ProgramRef): number => programs.indexOf(program);
  return { answers: answers.sort((a, b) => order(a.program) - order(b.program)), problems };
}
