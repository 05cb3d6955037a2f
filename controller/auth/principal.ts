/** Whom a credential proves: a node, or the processes of a Gateway (`<namespace>/<name>`). */
export type Principal =
  { readonly kind: 'node'; readonly node: string } | { readonly kind: 'gateway'; readonly gateway: string };

/** A text that is unique for a principal, and fit for messages: `node node-a`, `gateway shop/waypoint`. */
export function principalText(principal: Principal): string {
  return principal.kind === 'node' ? `node ${principal.node}` : `gateway ${principal.gateway}`;
}
