import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpApiClient } from '../../src/cluster/api-client.ts';
import { ApiPodStatusWriter } from '../../src/cluster/api-pod-status-writer.ts';
import { loadKubeconfig } from '../../src/cluster/kubeconfig.ts';
import { MirrorPods } from '../../src/cluster/mirror-pods.ts';
import { WatchCache } from '../../src/cluster/watch-cache.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';
import type { Node } from '../../src/model/node.ts';
import type { Pod } from '../../src/model/pod.ts';
import { resources } from '../../src/model/resource.ts';
import { MergedPods } from '../../src/pods/sources/merged-pods.ts';
import { waitFor } from '../harness/wait-for.ts';
import { manifest, podFrom } from '../unit/pods/sources/support.ts';
import { NODE_NAME, startEmbeddedApi } from '../unit/standalone/embedded-api.ts';

const MIRROR = 'kubernetes.io/config.mirror';
const name = `fixed-${NODE_NAME}`;

/** Static pods, their mirror pods and their statuses, through a real HTTPS API that can fail. */
describe('mirror pods', () => {
  let embedded: Awaited<ReturnType<typeof startEmbeddedApi>>;
  let api: HttpApiClient;
  let cache: WatchCache<Pod, Pod>;
  let statics: MergedPods;
  let statuses: ApiPodStatusWriter;
  let node: Node | undefined;
  let ending: boolean;
  let stop: AbortController;
  let done: Promise<unknown>;
  let mirrors: MirrorPods;

  beforeEach(async () => {
    const clock = new SystemClock();
    embedded = await startEmbeddedApi();
    api = new HttpApiClient({ connection: await loadKubeconfig(embedded.api.kubeconfigPath), qps: 0 }, { clock });
    stop = new AbortController();
    const fieldSelector = `spec.nodeName=${NODE_NAME}`;
    cache = new WatchCache<Pod, Pod>(
      { type: resources.pods, fieldSelector, project: (pod) => pod },
      { api, clock, logger: silent },
    );
    statics = new MergedPods({ sources: ['file'] }, { api: cache, events: { event: () => {} }, log: silent });
    statuses = new ApiPodStatusWriter({
      api,
      pods: cache,
      target: (uid) => statics.statusTarget(uid),
      clock,
      logger: silent,
    });
    cache.subscribe(() => statuses.lookAgain());
    node = await api.create<Node>(resources.nodes, {}, { metadata: { name: NODE_NAME } });
    ending = false;
    mirrors = new MirrorPods({
      api,
      pods: cache,
      statics,
      isEnding: () => ending,
      node: () => node,
      clock,
      log: silent,
    });
    done = Promise.all([cache.run(stop.signal), mirrors.run(stop.signal)]);
    await cache.whenSynced();
    statics.apiListed();
    statics.open();
  });

  afterEach(async () => {
    stop.abort();
    await done;
    await statuses.close();
    api.close();
    await embedded.close();
  });

  const find = (): Promise<Pod | undefined> =>
    api.get<Pod>(resources.pods, { namespace: 'default', name }).catch(() => undefined);
  const shows = (pod: Pod, not?: Pod): Promise<Pod> =>
    waitFor('the mirror pod', async () => {
      const found = await find();
      const right = found?.metadata.annotations?.[MIRROR] === pod.metadata.uid;
      return right && found?.metadata.uid !== not?.metadata.uid ? found : undefined;
    });
  const gone = (): Promise<boolean> => waitFor('no mirror pod', async () => (await find()) === undefined);

  it('comes with the pod, belongs to the node, and has no account', async () => {
    const pod = await podFrom(manifest('fixed'));
    statics.setStatic('file', [pod]);
    const mirror = await shows(pod);
    expect(mirror.metadata.ownerReferences).toEqual([
      { apiVersion: 'v1', kind: 'Node', name: NODE_NAME, uid: node?.metadata.uid, controller: true },
    ]);
    expect(mirror.metadata.uid).not.toBe(pod.metadata.uid);
    expect(mirror.spec).toMatchObject({ nodeName: NODE_NAME, tolerations: pod.spec.tolerations });
    expect(mirror.spec.serviceAccountName).toBeUndefined();
  });

  it('shows the status that the static pod has, and again after it was made anew', async () => {
    const pod = await podFrom(manifest('fixed'));
    const uid = pod.metadata.uid ?? '';
    statics.setStatic('file', [pod]);
    // Before there is anything to write it to.
    statuses.set({ namespace: 'default', name, uid }, { phase: 'Running', message: 'one' });
    const has = (message: string): Promise<boolean> =>
      waitFor('the status', async () => (await find())?.status?.message === message);
    const first = await shows(pod);
    await has('one');
    await api.delete(resources.pods, { namespace: 'default', name }, { gracePeriodSeconds: 0 });
    await shows(pod, first);
    await has('one');
    statuses.set({ namespace: 'default', name, uid }, { phase: 'Running', message: 'two' });
    await has('two');
  });

  it('is made anew when somebody deletes it with a grace period', async () => {
    const pod = await podFrom(manifest('fixed'));
    statics.setStatic('file', [pod]);
    const first = await shows(pod);
    await api.delete(resources.pods, { namespace: 'default', name });
    const second = await shows(pod, first);
    expect(second.metadata.deletionTimestamp).toBeUndefined();
  });

  it('changes with its pod, but not while the old one is being ended', async () => {
    const one = await podFrom(manifest('fixed', 'one'));
    statics.setStatic('file', [one]);
    const first = await shows(one);
    ending = true;
    const two = await podFrom(manifest('fixed', 'two'));
    statics.setStatic('file', [two]);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect((await find())?.metadata.uid).toBe(first.metadata.uid);
    ending = false;
    expect((await shows(two)).spec.containers[0]?.image).toBe('two');
  });

  it('goes when its pod has ended', async () => {
    const pod = await podFrom(manifest('fixed'));
    statics.setStatic('file', [pod]);
    const first = await shows(pod);
    ending = true;
    statics.setStatic('file', []);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect((await find())?.metadata.uid).toBe(first.metadata.uid);
    ending = false;
    await gone();
  });

  it('leaves foreign mirror pods alone until the files have been read, then removes what is orphaned', async () => {
    const pod = await podFrom(manifest('fixed'));
    const { uid: _, ...metadata } = pod.metadata;
    const annotations = { ...metadata.annotations, [MIRROR]: pod.metadata.uid ?? '' };
    await api.create(resources.pods, { namespace: 'default' }, { ...pod, metadata: { ...metadata, annotations } });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await find()).toBeDefined();
    statics.setStatic('file', []);
    mirrors.requestAll();
    await gone();
  });

  it('waits for its node, and has no patience with an API that fails', async () => {
    const known = node;
    node = undefined;
    const pod = await podFrom(manifest('fixed'));
    statics.setStatic('file', [pod]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await find()).toBeUndefined();
    embedded.faults.failNext(3, { verb: 'create', resource: 'pods' });
    node = known;
    await shows(pod);
  });

  it('does not know whether it was made when the answer is lost, and makes no second one', async () => {
    embedded.faults.add({ match: { verb: 'create', resource: 'pods' }, fault: { kind: 'loseAnswer' }, times: 1 });
    const pod = await podFrom(manifest('fixed'));
    statics.setStatic('file', [pod]);
    const first = await shows(pod);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect((await find())?.metadata.uid).toBe(first.metadata.uid);
  });

  it('does not take the place of a pod that somebody made', async () => {
    const spec = { containers: [{ name: 'c', image: 'x' }], nodeName: NODE_NAME };
    const made = await api.create<Pod>(resources.pods, { namespace: 'default' }, { metadata: { name }, spec });
    statics.setStatic('file', [await podFrom(manifest('fixed'))]);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect((await find())?.metadata.uid).toBe(made.metadata.uid);
    await api.delete(resources.pods, { namespace: 'default', name }, { gracePeriodSeconds: 0 });
    await waitFor('the mirror pod', async () => (await find())?.metadata.annotations?.[MIRROR] !== undefined);
  });
});
