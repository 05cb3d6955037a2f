import type { DeltaDiscoveryRequest } from '../../proto/gen/envoy/discovery_pb.js';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  EGRESS_TYPE,
  TYPES,
  TypeSnapshot,
  type TypeUrl,
  type VersionedResource,
  type View,
  WAYPOINT_TYPE,
} from './snapshot.ts';
import { type Delta, TypeSubscription } from './type-subscription.ts';
import { refusedNames } from './refused-names.ts';
import { inWaypointOrder } from './waypoint-order.ts';
import { MAX_RESPONSE_BYTES, RESOURCE_OVERHEAD_BYTES, type SharedWire } from './first-state.ts';

/** How far one type of one node has come. */
export interface TypeProgress {
  readonly typeUrl: TypeUrl;
  /** The newest generation that the node is known to have. */
  readonly ackedGeneration: number;
  readonly waitingForAck: boolean;
  /** What the node said when it refused the newest response; gone after the next success. */
  readonly nack?: string;
  /** The resources that it is about. */
  readonly refused?: readonly string[];
}

/** One message for the client, not encoded yet. */
export interface OutgoingResponse {
  readonly typeUrl: TypeUrl;
  readonly nonce: string;
  readonly systemVersionInfo: string;
  readonly resources: readonly VersionedResource[];
  /** Set where others are sent the same resources. */
  readonly shared?: SharedWire;
  /** Whether the client is told by what else it could have asked. */
  readonly withAliases: boolean;
  /** By resource: names by which the client asked for it and under which it is told of it too. */
  readonly askedAs?: ReadonlyMap<string, readonly string[]>;
  readonly removedResources: readonly string[];
}

export interface DeltaStreamOptions {
  /** Puts one message on the wire. */
  readonly send: (response: OutgoingResponse) => void;
  /**
   * Whether the client waits for an answer under the very name that it asked for. Istio's ztunnel does: it asks for an address and
   * looks at no aliases, so that its first connection there would wait for ever.
   */
  readonly namesAsAsked?: boolean;
}

const NAME_OVERHEAD_BYTES = 8;
const MAX_NACK_TEXT = 500;
/** Of a refusal that is searched for names: our clients write half of it at most, and each name is searched for. */
const MAX_NACK_SEARCHED = 8_192;
/** What must be there before the workloads that it is for. */
const RULE_TYPES = [AUTHORIZATION_TYPE, EGRESS_TYPE] as const;
const NOTHING = new TypeSnapshot(new Map());

interface TypeState {
  readonly subscription: TypeSubscription;
  /** The response that is on its way and not yet answered: never more than one, the rest waits and is summed up. */
  outstanding: { nonce: string; delta: Delta } | undefined;
  /** A first request is answered even with nothing: the client's readiness waits for it. */
  mustAnswer: boolean;
  acked: number;
  /** What the client refused, as name and version, with its reason, until all of it has changed. */
  nack: { readonly text: string; readonly refused: ReadonlyMap<string, string> } | undefined;
}

/**
 * One client's stream: decides what goes out next. Without I/O of its own.
 *
 * Order (a policy named by a workload must be there before it, and go after it): changed policies and egress rules, then
 * addresses, then what is removed of the former. What is for a waypoint comes after the addresses.
 */
export class DeltaStream {
  readonly #options: DeltaStreamOptions;
  readonly #types = new Map<TypeUrl, TypeState>();
  #view: View;
  #nonce = 0;

  constructor(view: View, options: DeltaStreamOptions) {
    this.#view = view;
    this.#options = options;
  }

  /** True once all types are subscribed to: until then a short wait lets policies go first. */
  get hasAllTypes(): boolean {
    return this.#types.size === this.#view.types.size;
  }

  /** Whether the client has not been sent all of the first state yet. */
  get isBeginning(): boolean {
    return [...this.#types.values()].some(({ subscription }) => subscription.isBeginning);
  }

  get progress(): TypeProgress[] {
    return [...this.#types].map(([typeUrl, state]) => ({
      typeUrl,
      ackedGeneration: state.acked,
      waitingForAck: state.outstanding !== undefined,
      ...(state.nack === undefined ? {} : { nack: state.nack.text, refused: [...state.nack.refused.keys()] }),
    }));
  }

  /** The newest state. The types of a view stay the same for the life of a stream. */
  setView(view: View): void {
    const former = this.#view;
    this.#view = view;
    for (const [typeUrl, { subscription }] of this.#types)
      subscription.advance(former.types.get(typeUrl) ?? NOTHING, this.#resources(typeUrl));
  }

  /**
   * Takes in a request; `flush` sends what follows from it.
   *
   * @returns whether it did nothing but answer the response that was on its way: what follows is the rest of what the client is
   * owed anyway, and not to be looked for
   * @throws Error when the request is against the protocol or beyond the limits; the stream must end then
   */
  receive(request: DeltaDiscoveryRequest): boolean {
    const typeUrl = this.#typeOf(request.typeUrl);
    let state = this.#types.get(typeUrl);
    if (state === undefined) {
      state = {
        subscription: new TypeSubscription(this.#view.node),
        outstanding: undefined,
        mustAnswer: true,
        acked: 0,
        nack: undefined,
      };
      this.#types.set(typeUrl, state);
    }
    const { resourceNamesSubscribe, resourceNamesUnsubscribe } = request;
    const isAnswer = request.responseNonce !== '' && answer(state, request);
    state.subscription.update({
      subscribe: resourceNamesSubscribe,
      unsubscribe: resourceNamesUnsubscribe,
      initialVersions: request.initialResourceVersions,
    });
    return isAnswer && state.subscription.wildcard && resourceNamesSubscribe.length === 0;
  }

  /** Sends all that may go now. */
  flush(): void {
    const addresses = this.#types.get(ADDRESS_TYPE);
    const rules = RULE_TYPES.flatMap((typeUrl) => {
      const state = this.#types.get(typeUrl);
      return state === undefined ? [] : [{ typeUrl, state }];
    });
    for (const { typeUrl, state } of rules)
      this.#send(typeUrl, state, ({ upserts }) => ({ upserts, removed: [] }));
    const rulesOut = rules.every(({ typeUrl, state }) => this.#some(typeUrl, state).upserts.length === 0);
    if (addresses !== undefined && rulesOut) this.#send(ADDRESS_TYPE, addresses, (delta) => delta);
    const addressesOut = addresses === undefined || isEmpty(this.#some(ADDRESS_TYPE, addresses));
    if (rulesOut && addressesOut)
      for (const { typeUrl, state } of rules) this.#send(typeUrl, state, (delta) => delta);
    // A waypoint learns of Services and routes when it knows where their pods are.
    const waypoint = this.#types.get(WAYPOINT_TYPE);
    if (waypoint !== undefined && addressesOut)
      this.#send(WAYPOINT_TYPE, waypoint, inWaypointOrder, Infinity);
    for (const [typeUrl, state] of this.#types) {
      const { resources } = this.#resources(typeUrl);
      if (state.outstanding !== undefined) continue;
      const refused = [...(state.nack?.refused ?? [])].some(
        ([name, version]) => resources.get(name)?.version === version,
      );
      if (refused) continue;
      state.nack = undefined;
      if (isEmpty(this.#some(typeUrl, state))) state.acked = this.#view.generation;
    }
  }

  #typeOf(wanted: string): TypeUrl {
    const known = TYPES.find((type) => type === wanted);
    if (known !== undefined && this.#view.types.has(known)) return known;
    const name = JSON.stringify(wanted.slice(0, 200));
    const why =
      known === undefined
        ? 'is not served'
        : known === EGRESS_TYPE
          ? "is served only to a node, by the node's token"
          : "is served only to a waypoint, by its Gateway's token";
    throw new Error(`type ${name} ${why}; allowed: ${[...this.#view.types.keys()].join(', ')}`);
  }

  #resources(typeUrl: TypeUrl): TypeSnapshot {
    return this.#view.types.get(typeUrl) ?? NOTHING;
  }

  /** A part of what is to be sent; empty only where nothing is. */
  #some(typeUrl: TypeUrl, state: TypeState): Delta {
    return state.subscription.diff(this.#resources(typeUrl), 0);
  }

  /** @param looksAt how much of what is to be sent `select` is given, where it is much more */
  #send(
    typeUrl: TypeUrl,
    state: TypeState,
    select: (delta: Delta) => Delta,
    looksAt = MAX_RESPONSE_BYTES,
  ): void {
    if (state.outstanding !== undefined) return;
    const delta = limit(select(state.subscription.diff(this.#resources(typeUrl), looksAt)));
    if (isEmpty(delta) && !state.mustAnswer) return;
    this.#nonce += 1;
    const nonce = `${this.#view.generation}-${this.#nonce}`;
    state.mustAnswer = false;
    state.outstanding = { nonce, delta };
    state.subscription.markSent(delta);
    this.#options.send({
      typeUrl,
      nonce,
      systemVersionInfo: String(this.#view.generation),
      resources: delta.upserts,
      ...(delta.shared !== undefined && { shared: delta.shared }),
      withAliases: !state.subscription.wildcard,
      ...(this.#options.namesAsAsked === true && { askedAs: state.subscription.askedAs(delta.upserts) }),
      removedResources: delta.removed,
    });
  }
}

/** @returns whether it is the answer that was waited for */
function answer(state: TypeState, request: DeltaDiscoveryRequest): boolean {
  // An answer to anything but the newest response says nothing about what the client has now.
  if (state.outstanding?.nonce !== request.responseNonce) return false;
  const { delta } = state.outstanding;
  state.outstanding = undefined;
  if (request.errorDetail === undefined) return true;
  // What was refused is not sent again before it changes: the client would refuse it again.
  const text = request.errorDetail.message.slice(0, MAX_NACK_TEXT) || 'refused without a reason';
  const refused = new Map(state.nack?.refused);
  const names = new Set(
    refusedNames(
      request.errorDetail.message.slice(0, MAX_NACK_SEARCHED),
      delta.upserts.map(({ name }) => name),
    ),
  );
  for (const { name, version } of delta.upserts) {
    if (names.has(name)) refused.set(name, version);
    else refused.delete(name);
  }
  state.nack = { text, refused };
  return true;
}

function isEmpty(delta: Delta): boolean {
  return delta.upserts.length === 0 && delta.removed.length === 0;
}

/** As much as fits into one message; the rest follows after its answer. */
function limit(delta: Delta): Delta {
  if (delta.shared !== undefined) return delta;
  let bytes = 0;
  const fits: VersionedResource[] = [];
  for (const resource of delta.upserts) {
    bytes += resource.bytes.length + RESOURCE_OVERHEAD_BYTES;
    if (fits.length > 0 && bytes > MAX_RESPONSE_BYTES) return { upserts: fits, removed: [] };
    fits.push(resource);
  }
  const removed: string[] = [];
  for (const name of delta.removed) {
    // A name of any length; at most three bytes of UTF-8 for each of its characters.
    bytes += name.length * 3 + NAME_OVERHEAD_BYTES;
    if (fits.length + removed.length > 0 && bytes > MAX_RESPONSE_BYTES) break;
    removed.push(name);
  }
  return { upserts: fits, removed };
}
