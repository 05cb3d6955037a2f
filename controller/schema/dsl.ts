/**
 * Small words to write the schemas with. Every object is closed: a field that Kubernetes does not know is an error,
 * because a misspelt field in a manifest is a setting that silently does not hold.
 */
export type Schema = Readonly<Record<string, unknown>>;

export const STRING: Schema = { type: 'string' };
export const BOOLEAN: Schema = { type: 'boolean' };
export const INTEGER: Schema = { type: 'integer' };
/** A part that we do not look into; only its outermost shape is checked. */
export const OPAQUE: Schema = { type: 'object' };
/** Kubernetes' int-or-string. */
export const INT_OR_STRING: Schema = { type: ['integer', 'string'] };
/** Kubernetes' resource.Quantity: `500m`, `1Gi`, `2`. */
export const QUANTITY: Schema = { type: ['number', 'string'] };

export function text(format: string): Schema {
  return { type: 'string', format };
}

export function oneOf(...values: readonly string[]): Schema {
  return { type: 'string', enum: values };
}

export function list(items: Schema, minItems = 0): Schema {
  return { type: 'array', items, minItems };
}

/** A map with free keys. */
export function mapOf(values: Schema, keyFormat?: string): Schema {
  return {
    type: 'object',
    additionalProperties: values,
    ...(keyFormat === undefined ? {} : { propertyNames: { type: 'string', format: keyFormat } }),
  };
}

/** An object with exactly these fields, of which `required` must be there. */
export function record(
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = [],
  extra: Schema = {},
): Schema {
  return { type: 'object', properties, required, additionalProperties: false, ...extra };
}

/** Many fields of one type, written as a list of names. */
export function fields(type: Schema, names: string): Record<string, Schema> {
  return Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, type]),
  );
}
