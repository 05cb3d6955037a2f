import type { Labels, Selector } from './objects.ts';

/** True when every wanted label is present with that value. No wanted label matches everything. */
export function labelsMatch(wanted: Labels | undefined, labels: Labels | undefined): boolean {
  return Object.entries(wanted ?? {}).every(
    ([key, value]) => labels !== undefined && Object.hasOwn(labels, key) && labels[key] === value,
  );
}

/** Istio: a selector without labels is the same as no selector, i.e. the policy covers its whole scope. */
export function hasSelector(selector: Selector | undefined): selector is { matchLabels: Labels } {
  return Object.keys(selector?.matchLabels ?? {}).length > 0;
}
