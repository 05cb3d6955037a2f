import type { FlowRecord } from '../../lib/flow/event.ts';

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);

function isFlow(value: Fields): boolean {
  return isFields(value['source']) && isFields(value['destination']) && typeof value['side'] === 'string';
}

function isEvent(value: Fields): boolean {
  const verdict = value['verdict'];
  return isFlow(value) && isFields(verdict) && typeof verdict['allowed'] === 'boolean';
}

const EDGE_NUMBERS = ['ended', 'opened', 'active', 'up', 'down', 'failed', 'retries'] as const;

function isEdge(value: unknown): boolean {
  return (
    isFields(value) &&
    isFlow(value) &&
    EDGE_NUMBERS.every((name) => isNumber(value[name])) &&
    Array.isArray(value['durations'])
  );
}

/**
 * Reads one line of a flow stream, already parsed. Programs of another version may tell what is not known here, which is
 * passed over.
 *
 * @returns undefined for an unknown kind, and for one whose necessary fields are not what they should be
 */
export function readFlowRecord(value: unknown): FlowRecord | undefined {
  if (!isFields(value) || !isNumber(value['at'])) return undefined;
  const isKnown = ((): boolean => {
    switch (value['kind']) {
      case 'hello':
        return isNumber(value['schema']);
      case 'opened':
        return isEvent(value);
      case 'ended':
        return isEvent(value) && isNumber(value['durationMs']);
      case 'request':
        return isEvent(value) && isNumber(value['durationMs']) && isNumber(value['status']);
      case 'window':
        return isNumber(value['ms']) && Array.isArray(value['edges']) && value['edges'].every(isEdge);
      case 'lost':
        return isNumber(value['events']) && isNumber(value['windows']);
      case 'leaving':
        return true;
      default:
        return false;
    }
  })();
  return isKnown ? (value as unknown as FlowRecord) : undefined;
}
