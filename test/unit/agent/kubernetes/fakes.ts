/** An API and a node's processes in memory. */
import type { KubeResource } from '../../../../lib/kubernetes/resource.ts';
import type { Feed, FeedRequest, MakeFeed } from '../../../../agent/kubernetes/feed.ts';
import type { FoundNetns, NetnsFinder } from '../../../../agent/kubernetes/netns-finder.ts';
import type { PodProcess } from '../../../../agent/kubernetes/process-table.ts';

class FakeFeed<T extends KubeResource> implements Feed<T> {
  readonly request: FeedRequest<T>;
  readonly objects = new Map<string, T>();
  synced = false;
  problem: string | undefined;
  started = false;
  closed = false;

  constructor(request: FeedRequest<T>) {
    this.request = request;
  }

  start(): void {
    this.started = true;
  }

  close(): void {
    this.closed = true;
  }
}

/** Objects are given as the API has them. */
export class FakeApi {
  readonly feeds = new Map<string, FakeFeed<KubeResource>>();
  readonly makeFeed: MakeFeed = <T extends KubeResource>(request: FeedRequest<T>): Feed<T> => {
    const feed = new FakeFeed(request);
    this.feeds.set(request.path, feed);
    return feed;
  };

  feed(path: string): FakeFeed<KubeResource> {
    const feed = this.feeds.get(path);
    if (feed === undefined) throw new Error(`nobody follows ${path}`);
    return feed;
  }

  sync(): void {
    for (const feed of this.feeds.values()) {
      feed.synced = true;
      feed.request.onSync();
    }
  }

  set(path: string, object: KubeResource): void {
    const feed = this.feed(path);
    const { namespace, name } = object.metadata;
    feed.objects.set(namespace === undefined ? name : `${namespace}/${name}`, feed.request.pick(object));
    feed.request.onChange();
  }

  delete(path: string, key: string): void {
    this.feed(path).objects.delete(key);
    this.feed(path).request.onChange();
  }

  problem(path: string, problem: string | undefined): void {
    this.feed(path).problem = problem;
    this.feed(path).request.onProblem();
  }
}

export class FakeFinder implements Pick<NetnsFinder, 'adopt' | 'look' | 'of' | 'processesOf' | 'close'> {
  readonly found = new Map<string, FoundNetns>();
  readonly processes = new Map<string, readonly PodProcess[]>();
  asked: ReadonlyMap<string, number | undefined> = new Map();
  passes = 0;
  readonly adopted = new Map<string, string>();
  closed = false;

  adopt(pod: string, path: string): void {
    this.adopted.set(pod, path);
  }

  look(pods: ReadonlyMap<string, number | undefined>, search: boolean): boolean {
    this.asked = pods;
    const missing = [...pods.keys()].some((pod) => !(this.found.get(pod)?.inhabited ?? false));
    if (missing && search) this.passes += 1;
    return missing;
  }

  of(pod: string): FoundNetns | undefined {
    return this.found.get(pod);
  }

  processesOf(pod: string): readonly PodProcess[] {
    return this.processes.get(pod) ?? [];
  }

  close(): void {
    this.closed = true;
  }
}
