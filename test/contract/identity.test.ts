import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HttpApiClient } from '../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../src/cluster/kubeconfig.ts';
import { TokenRequestSource } from '../../src/cluster/token-request-source.ts';
import { WatchedObjectSource } from '../../src/cluster/watched-object-source.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';
import { ManualClock } from '../../src/kit/manual-clock.ts';
import type { ConfigMap, Secret } from '../../src/model/objects.ts';
import type { Pod } from '../../src/model/pod.ts';
import { resources } from '../../src/model/resource.ts';
import { NODE_NAME, startEmbeddedApi } from '../unit/standalone/embedded-api.ts';

const { configmaps, pods, secrets, serviceaccounts } = resources;
const namespace = 'default';

describe('what pods are given of the cluster, from the embedded API', () => {
  let embedded: Awaited<ReturnType<typeof startEmbeddedApi>>;
  let api: HttpApiClient;
  beforeAll(async () => {
    embedded = await startEmbeddedApi();
    api = new HttpApiClient(
      { connection: await loadKubeconfig(embedded.api.kubeconfigPath), qps: 0 },
      { clock: new SystemClock() },
    );
    await eventually(() => embedded.api.store.get(serviceaccounts, namespace, 'default') !== undefined);
  });
  afterAll(async () => {
    api.close();
    await embedded.close();
  });

  async function eventually(check: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
    const end = performance.now() + ms;
    while (!(await check())) {
      if (performance.now() > end) throw new Error(`not so after ${ms} ms: ${check}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  function makePod(name: string): Promise<Pod> {
    const spec = { nodeName: NODE_NAME, containers: [{ name: 'c', image: 'i:1' }] };
    return api.create<Pod>(pods, { namespace, name }, { metadata: { name }, spec });
  }
  const requestFor = (pod: Pod) => ({
    namespace,
    serviceAccount: 'default',
    podName: pod.metadata.name ?? '',
    podUid: pod.metadata.uid ?? '',
    audience: 'vault',
    expirationSeconds: 600,
  });
  const claimsOf = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;

  test('a token is for its pod and audience, and is replaced at 80 % of its life', async () => {
    const pod = await makePod('tokens');
    const clock = new ManualClock(Date.now());
    const source = new TokenRequestSource({ api, clock, logger: silent, random: () => 0 });
    const first = await source.token(requestFor(pod));
    expect(claimsOf(first.token)).toMatchObject({
      aud: ['vault'],
      'kubernetes.io': {
        namespace,
        pod: { name: 'tokens', uid: pod.metadata.uid },
        serviceaccount: { name: 'default' },
      },
    });
    expect(Math.abs(first.renewAt - clock.now() - 480_000)).toBeLessThan(5000);
    expect((await source.token(requestFor(pod))).token).toBe(first.token);
    await clock.advance(481_000);
    expect((await source.token(requestFor(pod))).token).not.toBe(first.token);
  });

  test('a pod that is gone, or another one of its name, gets none; nor does another account', async () => {
    const pod = await makePod('gone');
    const source = new TokenRequestSource({ api, clock: new ManualClock(Date.now()), logger: silent });
    const stale = { ...requestFor(pod), podUid: 'another' };
    await expect(source.token(stale)).rejects.toThrow(/^failed to fetch token: .*UID/);
    const ofAnother = { ...requestFor(pod), serviceAccountUid: 'another' };
    await expect(source.token(ofAnother)).rejects.toMatchObject({ code: 'Conflict' });
    await api.delete(pods, { namespace, name: 'gone' }, { gracePeriodSeconds: 0 });
    await eventually(() => embedded.api.store.get(pods, namespace, 'gone') === undefined);
    await expect(source.token(requestFor(pod))).rejects.toThrow(/^failed to fetch token: .*"gone" not found/);
    await expect(source.token({ ...requestFor(pod), expirationSeconds: 599 })).rejects.toThrow(/less than 10 minutes/);
  });

  test('a Secret that is forbidden at first is read as soon as it is not, and the refusal names who and what', async () => {
    await api.create<Secret>(secrets, { namespace }, { metadata: { name: 'lagging' }, stringData: { a: 'b' } });
    const source = new WatchedObjectSource({ firstGetMs: 150 }, { api, clock: new SystemClock(), logger: silent });
    embedded.faults.failNext(2, { verb: 'list', resource: 'secrets' }, 403, 'Forbidden');
    try {
      source.need('pod', secrets, namespace, 'lagging');
      await expect(source.get(secrets, namespace, 'lagging')).rejects.toThrow(
        /reading Secret default\/lagging: not known yet: list .*\/secrets: API answered 403/,
      );
      await eventually(() => source.get(secrets, namespace, 'lagging').then(Boolean, () => false), 5000);
    } finally {
      embedded.faults.clear();
      await source.close();
    }
  });

  test('an immutable ConfigMap is held without a watch; made anew, later pods get the new one', async () => {
    const put = (text: string) =>
      api.create<ConfigMap>(
        configmaps,
        { namespace },
        { metadata: { name: 'fixed' }, data: { text }, immutable: true },
      );
    await put('one');
    const source = new WatchedObjectSource({}, { api, clock: new SystemClock(), logger: silent });
    const changes: string[] = [];
    source.subscribe((_owners, key) => changes.push(key));
    try {
      source.need('first', configmaps, namespace, 'fixed');
      expect((await source.get<ConfigMap>(configmaps, namespace, 'fixed')).data).toEqual({ text: 'one' });
      await api.delete(configmaps, { namespace, name: 'fixed' });
      await put('two');
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(changes).toHaveLength(1);
      source.need('second', configmaps, namespace, 'fixed');
      const seen = async () => (await source.get<ConfigMap>(configmaps, namespace, 'fixed')).data?.['text'] === 'two';
      await eventually(seen);
    } finally {
      await source.close();
    }
  });

  test('a Secret of the largest size with many keys comes whole; a larger one the API refuses by name', async () => {
    const value = 'x'.repeat(1024);
    const data = Object.fromEntries(Array.from({ length: 1024 }, (_, index) => [`key-${index}`, value]));
    const make = (name: string, stringData: Record<string, string>) =>
      api.create<Secret>(secrets, { namespace }, { metadata: { name }, stringData });
    await make('largest', data);
    const source = new WatchedObjectSource({}, { api, clock: new SystemClock(), logger: silent });
    source.need('pod', secrets, namespace, 'largest');
    expect(Object.keys((await source.get<Secret>(secrets, namespace, 'largest')).data ?? {})).toHaveLength(1024);
    await source.close();
    await expect(make('larger', { ...data, more: 'x' })).rejects.toThrow(
      /Secret "larger" is invalid: data: Too long: may not be more than 1048576 bytes/,
    );
  });
});
