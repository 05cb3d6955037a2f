import { MeshError } from '../errors.ts';

const SHOWN_VALUE_CHARS = 80;

/** A resource from the controller that cannot be taken as it is: names the resource, the field and the value. */
export class ResourceError extends MeshError {
  readonly resource: string;
  readonly field: string;

  /**
   * @param resource xDS name
   * @param field path inside the resource
   * @param value what stands there
   * @param allowed what may stand there
   */
  constructor(
    resource: string,
    field: string,
    value: unknown,
    allowed: string,
    options?: { cause?: unknown },
  ) {
    super(
      'RESOURCE_INVALID',
      `${shown(resource)}: ${field} is ${shown(value)}, allowed: ${allowed}`,
      options,
    );
    this.resource = resource;
    this.field = field;
  }
}

/** A value as it may stand in a log line: quoted, bounded. */
export function shown(value: unknown): string {
  const text =
    value instanceof Uint8Array
      ? `0x${Buffer.from(value.subarray(0, SHOWN_VALUE_CHARS / 2)).toString('hex')} (${value.length} bytes)`
      : (JSON.stringify(value) ?? String(value));
  return text.length > SHOWN_VALUE_CHARS ? `${text.slice(0, SHOWN_VALUE_CHARS)}…` : text;
}
