import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SystemClock } from '../../../../src/kit/clock.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { KubeObject } from '../../../../src/model/meta.ts';
import type { Namespace, PersistentVolume, PersistentVolumeClaim, ServiceCIDR } from '../../../../src/model/objects.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { type ResourceType, resources } from '../../../../src/model/resource.ts';
import type { EndpointSlice, Service } from '../../../../src/model/service.ts';
import { rfc3339 } from '../../../../src/model/time.ts';
import { ObjectAdmission } from '../../../../src/standalone/admission.ts';
import { Controllers, type ControllersOptions } from '../../../../src/standalone/controllers/controllers.ts';
import { EventExpiry } from '../../../../src/standalone/controllers/event-expiry.ts';
import { StoreDeleter } from '../../../../src/standalone/controllers/store-deleter.ts';
import type { StoredEvent } from '../../../../src/standalone/port.ts';
import type { WalStore } from '../../../../src/standalone/store/wal-store.ts';
import { podWith, schemas, serviceWith } from '../admission/object-fixtures.ts';
import { temporaryStore } from '../admission/temporary-store.ts';

const clock = new SystemClock();
let store: WalStore;
let admission: ObjectAdmission;
let controllers: Controllers;
let deleter: StoreDeleter;

async function start(options: Partial<ControllersOptions> = {}): Promise<void> {
  admission = new ObjectAdmission(
    {
      serviceCidrs: ['10.96.0.0/16'],
      nodePortRange: { from: 30_000, to: 32_767 },
      nodeName: 'n1',
      mountServiceAccountTokens: false,
    },
    { store, schemas, clock, random: Math.random },
  );
  controllers = new Controllers(
    { rootCa: 'CA one', ...options },
    { store, admission, clock, random: Math.random, log: silent },
  );
  await controllers.start();
}

async function stop(): Promise<void> {
  await controllers.close();
  admission.close();
}

beforeEach(async () => {
  store = await temporaryStore(clock);
  deleter = new StoreDeleter(store, clock);
  await start();
});

afterEach(stop);

async function create<T extends KubeObject>(type: ResourceType, object: object): Promise<T> {
  const defaulted = admission.defaults(type, object as KubeObject);
  return (await store.create(type, admission.allocate(type, defaulted, undefined))) as T;
}

function get<T extends KubeObject>(type: ResourceType, namespace: string | undefined, name: string): T | undefined {
  return store.get(type, namespace, name) as T | undefined;
}

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 5_000, interval: 5 });
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60));

async function setPod(name: string, change: (pod: Pod) => Pod): Promise<void> {
  const pod = get<Pod>(resources.pods, 'default', name);
  if (pod === undefined) throw new Error(`no pod ${name}`);
  await store.update(resources.pods, change(pod));
}

const withStatus =
  (ip: string, ready: boolean, phase = 'Running') =>
  (pod: Pod): Pod =>
    ({
      ...pod,
      status: {
        ...pod.status,
        phase,
        podIP: ip,
        podIPs: [{ ip }],
        conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      },
    }) as Pod;

function slicesOf(service: string): EndpointSlice[] {
  return (store.list(resources.endpointslices, 'default') as EndpointSlice[]).filter(
    ({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === service,
  );
}

function readyOf(service: string): string[] {
  return slicesOf(service)
    .flatMap(({ endpoints }) => endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready === true)
    .flatMap(({ addresses }) => addresses)
    .sort();
}

describe('a new cluster', () => {
  it('has its namespaces, each with account and authority, its service and classes', async () => {
    for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease']) {
      expect(get<Namespace>(resources.namespaces, undefined, name)?.status?.phase).toBe('Active');
      await eventually(() => expect(get(resources.serviceaccounts, name, 'default')).toBeDefined());
      await eventually(() =>
        expect(get(resources.configmaps, name, 'kube-root-ca.crt')).toMatchObject({ data: { 'ca.crt': 'CA one' } }),
      );
    }
    expect(get<Service>(resources.services, 'default', 'kubernetes')?.spec).toMatchObject({
      clusterIP: '10.96.0.1',
      ports: [{ name: 'https', port: 443 }],
    });
    expect(get<EndpointSlice>(resources.endpointslices, 'default', 'kubernetes')?.endpoints).toEqual([]);
    expect(get(resources.priorityclasses, undefined, 'system-node-critical')).toMatchObject({ value: 2_000_001_000 });
  });

  it('starts again on what it left, and takes on a new authority and endpoint', async () => {
    await settled();
    await stop();
    const before = store.resourceVersion;
    await start();
    await settled();
    expect(store.resourceVersion).toBe(before);
    await stop();
    await start({ rootCa: 'CA two', apiEndpoint: { address: '192.0.2.7', port: 6443 } });
    await eventually(() =>
      expect(get(resources.configmaps, 'kube-public', 'kube-root-ca.crt')).toMatchObject({
        data: { 'ca.crt': 'CA two' },
      }),
    );
    expect(get<EndpointSlice>(resources.endpointslices, 'default', 'kubernetes')).toMatchObject({
      endpoints: [{ addresses: ['192.0.2.7'] }],
      ports: [{ name: 'https', port: 6443 }],
    });
  });

  it('makes again what is deleted of it', async () => {
    await eventually(() => expect(get(resources.serviceaccounts, 'default', 'default')).toBeDefined());
    await store.remove(resources.serviceaccounts, 'default', 'default');
    await eventually(() => expect(get(resources.serviceaccounts, 'default', 'default')).toBeDefined());
  });
});

describe('ServiceCIDRs', () => {
  const more = { metadata: { name: 'more' }, spec: { cidrs: ['10.111.0.0/24'] } };
  const readyOfRange = (name: string) =>
    get<ServiceCIDR>(resources.servicecidrs, undefined, name)?.status?.conditions?.[0];

  it('the cluster’s own is there from the start, as it is configured, and ready', async () => {
    expect(get<ServiceCIDR>(resources.servicecidrs, undefined, 'kubernetes')?.spec).toEqual({
      cidrs: ['10.96.0.0/16'],
    });
    await eventually(() => expect(readyOfRange('kubernetes')).toMatchObject({ type: 'Ready', status: 'True' }));
    await stop();
    const old = get<ServiceCIDR>(resources.servicecidrs, undefined, 'kubernetes');
    await store.update(resources.servicecidrs, { ...old, spec: { cidrs: ['10.1.0.0/16'] } } as ServiceCIDR);
    await start();
    expect(get<ServiceCIDR>(resources.servicecidrs, undefined, 'kubernetes')?.spec).toEqual({
      cidrs: ['10.96.0.0/16'],
    });
  });

  it('one that is deleted waits for the Services that have its addresses', async () => {
    await create(resources.servicecidrs, more);
    await eventually(() => expect(readyOfRange('more')).toMatchObject({ type: 'Ready', status: 'True' }));
    expect(get(resources.servicecidrs, undefined, 'more')?.metadata.finalizers).toEqual([
      'networking.k8s.io/service-cidr-finalizer',
    ]);
    await create(resources.services, serviceWith({ clusterIP: '10.111.0.9' }, { name: 'a' }));
    await deleter.delete(resources.servicecidrs, undefined, 'more');
    await eventually(() => expect(readyOfRange('more')).toMatchObject({ status: 'False', reason: 'Terminating' }));
    await deleter.delete(resources.services, 'default', 'a');
    await eventually(() => expect(get(resources.servicecidrs, undefined, 'more')).toBeUndefined());
  });

  it('or until another one has them', async () => {
    await create(resources.servicecidrs, more);
    await create(resources.services, serviceWith({ clusterIP: '10.111.0.9' }, { name: 'a' }));
    await eventually(() => expect(readyOfRange('more')).toBeDefined());
    await deleter.delete(resources.servicecidrs, undefined, 'more');
    await eventually(() => expect(readyOfRange('more')).toMatchObject({ status: 'False' }));
    await create(resources.servicecidrs, { metadata: { name: 'larger' }, spec: { cidrs: ['10.111.0.0/16'] } });
    await eventually(() => expect(get(resources.servicecidrs, undefined, 'more')).toBeUndefined());
    expect(get(resources.servicecidrs, undefined, 'larger')).toBeDefined();
  });
});

describe('endpoint slices', () => {
  it('follow pods within milliseconds', async () => {
    await create(resources.services, serviceWith());
    for (const name of ['a', 'b']) await create(resources.pods, podWith({}, {}, { name, labels: { app: 'web' } }));
    await setPod('a', withStatus('10.0.0.1', true));
    await setPod('b', withStatus('10.0.0.2', true));
    await eventually(() => expect(readyOf('web')).toEqual(['10.0.0.1', '10.0.0.2']));
    const seen = new Promise<number>((resolve) => {
      const unsubscribe = store.subscribe((event: StoredEvent) => {
        if (event.resource.plural !== resources.endpointslices.plural || readyOf('web').length !== 1) return;
        unsubscribe();
        resolve(performance.now());
      });
    });
    await setPod('a', withStatus('10.0.0.1', false));
    const changedAt = performance.now();
    expect((await seen) - changedAt).toBeLessThan(100);
    expect(readyOf('web')).toEqual(['10.0.0.2']);
    await setPod('b', withStatus('10.0.0.2', true, 'Succeeded'));
    await eventually(() => expect(readyOf('web')).toEqual([]));
    await eventually(() => expect(slicesOf('web').flatMap(({ endpoints }) => endpoints ?? [])).toHaveLength(1));
  });

  it('are not written when nothing of them changes', async () => {
    await create(resources.services, serviceWith());
    await create(resources.pods, podWith({}, {}, { name: 'a', labels: { app: 'web' } }));
    await setPod('a', withStatus('10.0.0.1', true));
    await eventually(() => expect(readyOf('web')).toEqual(['10.0.0.1']));
    await settled();
    const [slice] = slicesOf('web');
    await setPod('a', (pod) => ({ ...pod, metadata: { ...pod.metadata, annotations: { note: 'x' } } }));
    await settled();
    expect(slicesOf('web')).toEqual([slice]);
  });

  it('heal, follow the selector, and go with the service; others are left alone', async () => {
    const hand = {
      metadata: { namespace: 'default', name: 'hand', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['192.0.2.9'] }],
    };
    await create(resources.endpointslices, hand);
    const service = await create<Service>(resources.services, serviceWith());
    await create(resources.pods, podWith({}, {}, { name: 'a', labels: { app: 'web' } }));
    await setPod('a', withStatus('10.0.0.1', true));
    await eventually(() => expect(readyOf('web')).toEqual(['10.0.0.1']));
    const own = slicesOf('web').find(({ metadata }) => metadata.name !== 'hand');
    await store.remove(resources.endpointslices, 'default', own?.metadata.name ?? '');
    await eventually(() => expect(readyOf('web')).toEqual(['10.0.0.1']));
    await store.update(resources.services, {
      ...service,
      spec: { ...service.spec, selector: { app: 'db' } },
    } as Service);
    await eventually(() => expect(readyOf('web')).toEqual([]));
    await store.remove(resources.services, 'default', 'web');
    await eventually(() => expect(slicesOf('web').map(({ metadata }) => metadata.name)).toEqual(['hand']));
  });

  it('are not made for services without a selector', async () => {
    await create(resources.services, serviceWith({ selector: undefined }));
    await settled();
    expect(slicesOf('web')).toEqual([]);
  });
});

describe('a deleted namespace', () => {
  it('is emptied before it goes, and takes nothing new', async () => {
    await create(resources.namespaces, { metadata: { name: 'team' } });
    await create(resources.configmaps, { metadata: { namespace: 'team', name: 'c' } });
    await create(resources.services, serviceWith({}, { namespace: 'team' }));
    await create(resources.pods, podWith({}, {}, { namespace: 'team' }));
    await eventually(() => expect(get(resources.configmaps, 'team', 'kube-root-ca.crt')).toBeDefined());
    await deleter.delete(resources.namespaces, undefined, 'team');
    expect(get<Namespace>(resources.namespaces, undefined, 'team')?.status?.phase).toBe('Terminating');
    await expect(create(resources.configmaps, { metadata: { namespace: 'team', name: 'd' } })).rejects.toMatchObject({
      code: 'Forbidden',
    });
    // The pod runs on a node, which must say that it has ended.
    await eventually(() => expect(get(resources.pods, 'team', 'web')?.metadata.deletionTimestamp).toBeDefined());
    await settled();
    expect(get(resources.namespaces, undefined, 'team')).toBeDefined();
    await deleter.delete(resources.pods, 'team', 'web', { gracePeriodSeconds: 0 });
    await eventually(() => expect(get(resources.namespaces, undefined, 'team')).toBeUndefined());
    for (const type of Object.values(resources).filter(({ namespaced }) => namespaced))
      expect(store.list(type, 'team')).toEqual([]);
  });

  it('waits for finalizers of others', async () => {
    await create(resources.namespaces, { metadata: { name: 'team' } });
    const held = await create(resources.configmaps, {
      metadata: { namespace: 'team', name: 'c', finalizers: ['example.com/hold'] },
    });
    await deleter.delete(resources.namespaces, undefined, 'team');
    await settled();
    expect(get(resources.namespaces, undefined, 'team')).toBeDefined();
    const marked = get(resources.configmaps, 'team', 'c') ?? held;
    expect(marked.metadata.deletionTimestamp).toBeDefined();
    await deleter.updateOrRemove(resources.configmaps, { ...marked, metadata: { ...marked.metadata, finalizers: [] } });
    await eventually(() => expect(get(resources.namespaces, undefined, 'team')).toBeUndefined());
  });
});

describe('owners', () => {
  const owned = (name: string, owner: KubeObject, more: object = {}): object => ({
    metadata: {
      namespace: 'default',
      name,
      ownerReferences: [
        { apiVersion: 'v1', kind: 'ConfigMap', name: owner.metadata.name, uid: owner.metadata.uid, ...more },
      ],
    },
  });

  it('take what they own along, over generations', async () => {
    const top = await create(resources.configmaps, { metadata: { namespace: 'default', name: 'top' } });
    const middle = await create(resources.configmaps, owned('middle', top));
    await create(resources.secrets, owned('leaf', middle));
    await settled();
    expect(get(resources.secrets, 'default', 'leaf')).toBeDefined();
    await store.remove(resources.configmaps, 'default', 'top');
    await eventually(() => expect(get(resources.secrets, 'default', 'leaf')).toBeUndefined());
    expect(get(resources.configmaps, 'default', 'middle')).toBeUndefined();
  });

  it('leave what another still owns, or whose owner is of a kind unknown here', async () => {
    const [one, two] = [
      await create(resources.configmaps, { metadata: { namespace: 'default', name: 'one' } }),
      await create(resources.configmaps, { metadata: { namespace: 'default', name: 'two' } }),
    ];
    const both = owned('both', one) as KubeObject;
    const reference = { apiVersion: 'v1', kind: 'ConfigMap', name: 'two', uid: two.metadata.uid ?? '' };
    await create(resources.secrets, {
      metadata: { ...both.metadata, ownerReferences: [...(both.metadata.ownerReferences ?? []), reference] },
    });
    await create(resources.secrets, {
      metadata: {
        namespace: 'default',
        name: 'foreign',
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'u' }],
      },
    });
    await store.remove(resources.configmaps, 'default', 'one');
    await eventually(() =>
      expect(get(resources.secrets, 'default', 'both')?.metadata.ownerReferences).toEqual([reference]),
    );
    expect(get(resources.secrets, 'default', 'foreign')).toBeDefined();
  });

  it('do not come back by name alone', async () => {
    const owner = await create(resources.configmaps, { metadata: { namespace: 'default', name: 'owner' } });
    await create(
      resources.secrets,
      owned('stale', { ...owner, metadata: { ...owner.metadata, uid: 'of-an-earlier-one' } }),
    );
    await eventually(() => expect(get(resources.secrets, 'default', 'stale')).toBeUndefined());
  });

  it('wait for their dependents in a foreground deletion, and free them in an orphaning one', async () => {
    const first = await create(resources.configmaps, {
      metadata: { namespace: 'default', name: 'first', finalizers: ['foregroundDeletion'] },
    });
    await create(resources.secrets, {
      ...owned('blocking', first, { blockOwnerDeletion: true }),
      metadata: {
        ...(owned('blocking', first, { blockOwnerDeletion: true }) as KubeObject).metadata,
        finalizers: ['example.com/hold'],
      },
    });
    await deleter.delete(resources.configmaps, 'default', 'first');
    await eventually(() =>
      expect(get(resources.secrets, 'default', 'blocking')?.metadata.deletionTimestamp).toBeDefined(),
    );
    expect(get(resources.configmaps, 'default', 'first')).toBeDefined();
    const blocking = get(resources.secrets, 'default', 'blocking');
    if (blocking === undefined) throw new Error('gone too early');
    await deleter.updateOrRemove(resources.secrets, {
      ...blocking,
      metadata: { ...blocking.metadata, finalizers: [] },
    });
    await eventually(() => expect(get(resources.configmaps, 'default', 'first')).toBeUndefined());

    const second = await create(resources.configmaps, {
      metadata: { namespace: 'default', name: 'second', finalizers: ['orphan'] },
    });
    await create(resources.secrets, owned('freed', second));
    await deleter.delete(resources.configmaps, 'default', 'second');
    await eventually(() => expect(get(resources.configmaps, 'default', 'second')).toBeUndefined());
    await settled();
    expect(get(resources.secrets, 'default', 'freed')?.metadata.ownerReferences).toEqual([]);
  });
});

describe('pods without a node', () => {
  it('are bound when the node can take them', async () => {
    await create(resources.nodes, { metadata: { name: 'n1' }, status: { allocatable: { cpu: '1', pods: '10' } } });
    await create(resources.pods, podWith({ nodeSelector: { disk: 'ssd' } }, {}, { name: 'picky' }));
    await create(resources.pods, podWith({}, { resources: { requests: { cpu: '600m' } } }, { name: 'large' }));
    await create(resources.pods, podWith({}, { resources: { requests: { cpu: '600m' } } }, { name: 'waiting' }));
    const nodeOf = (name: string): string | undefined => get<Pod>(resources.pods, 'default', name)?.spec.nodeName;
    expect([nodeOf('picky'), nodeOf('large'), nodeOf('waiting')]).toEqual([undefined, 'n1', undefined]);
    const node = get(resources.nodes, undefined, 'n1');
    if (node === undefined) throw new Error('no node');
    await store.update(resources.nodes, { ...node, metadata: { ...node.metadata, labels: { disk: 'ssd' } } });
    await eventually(() => expect(nodeOf('picky')).toBe('n1'));
    expect(nodeOf('waiting')).toBeUndefined();
    await setPod('large', withStatus('10.0.0.1', false, 'Succeeded'));
    await eventually(() => expect(nodeOf('waiting')).toBe('n1'));
  });

  it('go when they are deleted, since no node will say so', async () => {
    await create(resources.pods, podWith({ schedulingGates: [{ name: 'g' }] }));
    const pod = get<Pod>(resources.pods, 'default', 'web');
    if (pod === undefined) throw new Error('no pod');
    await store.update(resources.pods, {
      ...pod,
      metadata: { ...pod.metadata, deletionTimestamp: rfc3339(clock.now()), deletionGracePeriodSeconds: 30 },
    });
    await eventually(() => expect(get(resources.pods, 'default', 'web')).toBeUndefined());
  });
});

describe('generic ephemeral volumes', () => {
  const template = {
    metadata: { labels: { kind: 'scratch' }, annotations: { note: 'x' } },
    spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'fast', resources: { requests: { storage: '1Gi' } } },
  };
  const pod = (name: string): object =>
    podWith({ volumes: [{ name: 'data', ephemeral: { volumeClaimTemplate: template } }] }, {}, { name });
  const claimOf = (name: string): PersistentVolumeClaim | undefined =>
    get(resources.persistentvolumeclaims, 'default', name);

  it('have a claim made for them, owned by the pod, and made again when it is deleted', async () => {
    const { metadata } = await create<Pod>(resources.pods, pod('a'));
    await eventually(() => expect(claimOf('a-data')?.status?.phase).toBe('Pending'));
    expect(claimOf('a-data')).toMatchObject({ metadata: template.metadata, spec: template.spec });
    expect(claimOf('a-data')?.metadata.ownerReferences).toEqual([
      { apiVersion: 'v1', kind: 'Pod', name: 'a', uid: metadata.uid, controller: true, blockOwnerDeletion: true },
    ]);
    const { uid } = claimOf('a-data')?.metadata ?? {};
    await store.remove(resources.persistentvolumeclaims, 'default', 'a-data');
    await eventually(() => expect(claimOf('a-data')?.metadata.uid).not.toBe(uid));
    await eventually(() => expect(claimOf('a-data')).toBeDefined());
    await store.remove(resources.pods, 'default', 'a');
    await eventually(() => expect(claimOf('a-data')).toBeUndefined());
  });

  it('leave a claim alone that somebody else has made', async () => {
    await create(resources.persistentvolumeclaims, {
      metadata: { name: 'b-data', namespace: 'default' },
      spec: template.spec,
    });
    await create(resources.pods, pod('b'));
    await settled();
    expect(claimOf('b-data')?.metadata.ownerReferences).toBeUndefined();
  });
});

describe('volumes', () => {
  const volume = (name: string, storage: string, spec: object = {}): object => ({
    metadata: { name },
    spec: { capacity: { storage }, accessModes: ['ReadWriteOnce'], hostPath: { path: `/data/${name}` }, ...spec },
  });
  const claim = (name: string, storage: string, spec: object = {}): object => ({
    metadata: { namespace: 'default', name },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } }, ...spec },
  });
  const volumeOf = (name: string): PersistentVolume | undefined => get(resources.persistentvolumes, undefined, name);
  const claimOf = (name: string): PersistentVolumeClaim | undefined =>
    get(resources.persistentvolumeclaims, 'default', name);

  it('are bound to the smallest that fits, and to each claim only one', async () => {
    await create(resources.persistentvolumes, volume('big', '10Gi'));
    await create(resources.persistentvolumes, volume('small', '1Gi'));
    await create(resources.persistentvolumes, volume('fast', '1Gi', { storageClassName: 'fast' }));
    await eventually(() => expect(volumeOf('small')?.status?.phase).toBe('Available'));
    await Promise.all(['a', 'b', 'c'].map((name) => create(resources.persistentvolumeclaims, claim(name, '500Mi'))));
    await eventually(() =>
      expect(['a', 'b', 'c'].map((name) => claimOf(name)?.status?.phase).sort()).toEqual(['Bound', 'Bound', 'Pending']),
    );
    expect(claimOf('a')).toMatchObject({ spec: { volumeName: 'small' }, status: { capacity: { storage: '1Gi' } } });
    await eventually(() =>
      expect(volumeOf('small')).toMatchObject({
        spec: { claimRef: { name: 'a', uid: claimOf('a')?.metadata.uid } },
        status: { phase: 'Bound' },
      }),
    );
    await eventually(() => expect(volumeOf('fast')?.status?.phase).toBe('Available'));
  });

  it('are released, not given on, when the claim goes', async () => {
    await create(resources.persistentvolumes, volume('v', '1Gi'));
    await create(resources.persistentvolumes, volume('d', '2Gi', { persistentVolumeReclaimPolicy: 'Delete' }));
    await create(resources.persistentvolumeclaims, claim('a', '1Gi', { volumeName: 'v' }));
    await create(resources.persistentvolumeclaims, claim('b', '2Gi'));
    await eventually(() =>
      expect([claimOf('a')?.status?.phase, claimOf('b')?.status?.phase]).toEqual(['Bound', 'Bound']),
    );
    await store.remove(resources.persistentvolumeclaims, 'default', 'a');
    await store.remove(resources.persistentvolumeclaims, 'default', 'b');
    await eventually(() =>
      expect([volumeOf('v')?.status?.phase, volumeOf('d')?.status?.phase]).toEqual(['Released', 'Failed']),
    );
    await create(resources.persistentvolumeclaims, claim('a', '1Gi'));
    await settled();
    expect(claimOf('a')?.status?.phase).toBe('Pending');
  });

  it('wait for the claim they are reserved for', async () => {
    await create(resources.persistentvolumes, volume('v', '1Gi', { claimRef: { namespace: 'default', name: 'mine' } }));
    await create(resources.persistentvolumeclaims, claim('other', '1Gi'));
    await create(resources.persistentvolumeclaims, claim('mine', '1Gi'));
    await eventually(() => expect(claimOf('mine')?.status?.phase).toBe('Bound'));
    expect(claimOf('other')?.status?.phase).toBe('Pending');
  });
});

describe('events', () => {
  it('are removed an hour after they were last seen', async () => {
    const time = new ManualClock();
    const own = await temporaryStore(time);
    const expiry = new EventExpiry({}, { store: own, clock: time, log: silent });
    const event = (name: string, more: object): KubeObject =>
      ({ metadata: { namespace: 'default', name }, ...more }) as KubeObject;
    await own.create(resources.events, event('old', {}));
    await own.create(resources.events, event('seen', { lastTimestamp: rfc3339(time.now() + 1_800_000) }));
    expiry.start();
    await time.advance(3_600_000);
    expect(own.list(resources.events)).toHaveLength(2);
    await time.advance(60_000);
    await eventually(() => expect(own.list(resources.events).map(({ metadata }) => metadata.name)).toEqual(['seen']));
    await eventually(() => expect(time.untilNext()).toBeDefined());
    await time.advance(1_800_000);
    await eventually(() => expect(own.list(resources.events)).toEqual([]));
    await expiry.close();
  });
});
