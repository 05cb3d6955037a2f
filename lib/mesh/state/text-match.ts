import { type Identity, spiffeUri } from '../../spiffe.ts';
import type { TextMatch } from './model.ts';

const SPIFFE_SCHEME = 'spiffe://';

/** Whether a match of a policy holds. @param text undefined when the peer has no identity: nothing matches it, not even presence */
export function textMatches(match: TextMatch, text: string | undefined): boolean {
  if (text === undefined) return false;
  switch (match.how) {
    case 'exact':
      return text === match.text;
    case 'prefix':
      return text.startsWith(match.text);
    case 'suffix':
      return text.endsWith(match.text);
    case 'presence':
      return text !== '';
  }
}

/** An identity as Istio's policies write it: the SPIFFE URI without its scheme. */
export function principalOf(identity: Identity): string {
  return spiffeUri(identity).slice(SPIFFE_SCHEME.length);
}
