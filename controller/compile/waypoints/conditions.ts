import type { Condition } from '../outcomes.ts';

/** The conditions of a Gateway (Gateway API: GatewayConditionType and its reasons), from what was compiled. */
export function gatewayConditions(pending: string | undefined, ready: boolean): Condition[] {
  const accepted: Condition = { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' };
  if (pending !== undefined)
    return [
      accepted,
      { type: 'Programmed', status: 'False', reason: 'AddressNotAssigned', message: pending },
    ];
  if (!ready)
    return [
      accepted,
      { type: 'Programmed', status: 'False', reason: 'NoResources', message: 'no instance is ready' },
    ];
  return [accepted, { type: 'Programmed', status: 'True', reason: 'Programmed', message: '' }];
}
