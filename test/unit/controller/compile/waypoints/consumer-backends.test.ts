import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { compileObjects, conditionsOf, objectsOf, routeYaml, serviceYaml, SHOP } from './world.ts';

const FAR = '{kind: Service, group: "", name: far, namespace: other}';
const NEAR = '{kind: Service, group: "", name: near, namespace: other}';
const OWN = '{kind: Service, group: "", name: payments}';

/** Whether a route of namespace `shop` with these parents may send to Service `far` of `other`, which grants nothing. */
function resolved(...parents: string[]): Set<string> {
  const spec = `{parentRefs: [${parents.join()}], rules: [{backendRefs: [{name: far, namespace: other, port: 80}]}]}`;
  const world = [SHOP, routeYaml(spec), serviceYaml('far', { namespace: 'other' })].join('---');
  const said = conditionsOf(compileObjects(objectsOf(world)), 'HTTPRoute/shop/r');
  return new Set(said.flatMap((each) => / ResolvedRefs (\w+ \w+)/.exec(each)?.[1] ?? []));
}

describe('a route for the clients of its own namespace', () => {
  it('may send to the Service that they called, without a grant', () => {
    assert.deepEqual(resolved(FAR), new Set(['True ResolvedRefs']));
  });

  it('may not send there what was meant for another Service', () => {
    assert.deepEqual(resolved(NEAR), new Set(['False RefNotPermitted']));
    assert.deepEqual(resolved(FAR, OWN), new Set(['False RefNotPermitted']));
    assert.deepEqual(resolved(FAR, NEAR), new Set(['False RefNotPermitted']));
  });
});
