import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';

export interface Column<Row> {
  readonly head: string;
  readonly cell: (row: Row) => ComponentChildren;
  readonly by?: (row: Row) => number | string;
  readonly number?: boolean;
  /** Where there is little room, it goes. */
  readonly minor?: boolean;
}

interface Props<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row) => string;
  readonly empty: string;
}

/** A table that its heads sort. */
export function Table<Row>({ caption, columns, rows, rowKey, empty }: Props<Row>) {
  const [sort, setSort] = useState<{ head: string; down: boolean } | undefined>(undefined);
  const by = columns.find(({ head }) => head === sort?.head)?.by;
  const sorted =
    by === undefined
      ? rows
      : [...rows].sort((a, b) => {
          const [x, y] = [by(a), by(b)];
          return (x < y ? -1 : x > y ? 1 : 0) * (sort?.down === true ? -1 : 1);
        });
  if (rows.length === 0) return <p class="empty">{empty}</p>;
  return (
    <div class="table" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ head, by: sortable, number, minor }) => (
              <th
                key={head}
                scope="col"
                class={`${number === true ? 'number' : ''} ${minor === true ? 'minor' : ''}`}
                aria-sort={sort?.head === head ? (sort.down ? 'descending' : 'ascending') : undefined}
              >
                {sortable === undefined ? (
                  head
                ) : (
                  <button
                    type="button"
                    onClick={() =>
                      setSort({ head, down: sort?.head === head ? !sort.down : number === true })
                    }
                  >
                    {head}
                    <span aria-hidden="true">{sort?.head === head ? (sort.down ? ' ↓' : ' ↑') : ''}</span>
                  </button>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map(({ head, cell, number, minor }) => (
                <td key={head} class={`${number === true ? 'number' : ''} ${minor === true ? 'minor' : ''}`}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
