import { cliPage } from './cli-page.ts';
import { flagsPage } from './flags-page.ts';
import { kindsPage } from './kinds-page.ts';
import { portsPage } from './ports-page.ts';
import { valuesPage } from './values-page.ts';

/** The pages of docs/reference that are made from the code, by their names. */
export async function generatedPages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ['cli.md', await cliPage()],
    ['flags.md', flagsPage()],
    ['kinds.md', kindsPage()],
    ['ports.md', portsPage()],
    ['values.md', valuesPage()],
  ]);
}
