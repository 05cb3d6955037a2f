import { readFields, writeFields } from './mutate-protobuf.ts';

/** What one end of a connection does, in order. */
export type Step = { readonly packet: Buffer } | { readonly number: number };

/**
 * Reads an input as a series of packets (field 1) and numbers (any other field), so that protobuf's mutations take
 * packets out, double and change them. What is no such series is one packet.
 */
export function stepsOf(input: Buffer): Step[] {
  const fields = readFields(input);
  if (fields === undefined) return [{ packet: input }];
  return fields.map(({ wire, value }) => (wire === 2 ? { packet: value } : { number: value[0] ?? 0 }));
}

/** The input that {@link stepsOf} reads as these steps. */
export function seriesOf(...steps: readonly (Uint8Array | number)[]): Buffer {
  return writeFields(
    steps.map((step) =>
      typeof step === 'number'
        ? { number: 2, wire: 0, value: Buffer.of(step) }
        : { number: 1, wire: 2, value: Buffer.from(step) },
    ),
  );
}
