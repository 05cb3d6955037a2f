/** Asks the server. The token came in the address's fragment, and is kept for this tab alone. */

const KEPT_AS = 'loam-token';
let token = '';

/** Takes the token out of the address, so that it does not stand there to be read over a shoulder. */
export function takeToken(): void {
  const given = /^#token=([\w-]+)$/.exec(location.hash)?.[1];
  if (given !== undefined) {
    sessionStorage.setItem(KEPT_AS, given);
    history.replaceState(null, '', '/#/');
  }
  token = sessionStorage.getItem(KEPT_AS) ?? '';
}

export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function ask(path: string, query: Query, signal?: AbortSignal): Promise<Response> {
  const given = Object.entries(query).flatMap(([key, value]) =>
    value === undefined || value === '' ? [] : [[key, String(value)]],
  );
  const response = await fetch(`/api/${path}?${new URLSearchParams(given).toString()}`, {
    headers: { authorization: `Bearer ${token}` },
    ...(signal && { signal }),
  });
  if (!response.ok) throw new ApiError(response.status, (await response.text()).trim());
  return response;
}

export type Query = Readonly<Record<string, string | number | undefined>>;

export async function getJson<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, query, signal)).json()) as T;
}

/** Reads JSON lines until the signal fires or the server ends. */
export async function getLines(
  path: string,
  query: Query,
  signal: AbortSignal,
  onLines: (values: unknown[]) => void,
): Promise<void> {
  const { body } = await ask(path, query, signal);
  if (body === null) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop() ?? '';
    const values = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);
    if (values.length > 0) onLines(values);
  }
}
