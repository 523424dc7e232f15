import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ApiClient, WatchEvent } from '../../src/cluster/port.ts';
import { CodedError } from '../../src/kit/errors.ts';
import type { KubeObject } from '../../src/model/meta.ts';
import type { ConfigMap, TokenRequest } from '../../src/model/objects.ts';
import type { Pod } from '../../src/model/pod.ts';
import { resources } from '../../src/model/resource.ts';

const { configmaps, pods, serviceaccounts, leases } = resources;

const configMap = (name: string, data: Record<string, string> = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
  data,
});

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof CodedError ? error.code : `not coded: ${String(error)}`),
  );
}

/** What every ApiClient does, whatever is behind it. `connect` gives an API that has namespace default and nothing of ours. */
export function apiClientContract(
  name: string,
  connect: () => Promise<{ api: ApiClient; close: () => Promise<void>; serviceAccount: string }>,
): void {
  describe(`ApiClient contract: ${name}`, () => {
    let api: ApiClient;
    let close: () => Promise<void>;
    let serviceAccount: string;

    beforeAll(async () => {
      ({ api, close, serviceAccount } = await connect());
    });
    afterAll(() => close());

    test('creates, reads, replaces and deletes', async () => {
      const made = await api.create<ConfigMap>(configmaps, { namespace: 'default' }, configMap('one', { a: '1' }));
      expect(made.metadata.uid).toBeTruthy();
      expect(made.metadata.resourceVersion).toBeTruthy();
      const read = await api.get<ConfigMap>(configmaps, { namespace: 'default', name: 'one' });
      expect(read.data).toEqual({ a: '1' });
      const updated = await api.update(
        configmaps,
        { namespace: 'default', name: 'one' },
        { ...read, data: { a: '2' } },
      );
      expect(updated.data).toEqual({ a: '2' });
      expect(updated.metadata.resourceVersion).not.toBe(read.metadata.resourceVersion);
      expect(await codeOf(api.update(configmaps, { namespace: 'default', name: 'one' }, { ...read, data: {} }))).toBe(
        'Conflict',
      );
      await api.delete(configmaps, { namespace: 'default', name: 'one' });
      expect(await codeOf(api.get(configmaps, { namespace: 'default', name: 'one' }))).toBe('NotFound');
    });

    test('tells the kinds of refusal apart', async () => {
      await api.create(configmaps, { namespace: 'default' }, configMap('twice'));
      expect(await codeOf(api.create(configmaps, { namespace: 'default' }, configMap('twice')))).toBe('AlreadyExists');
      const unnamed = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'default' } };
      expect(await codeOf(api.create(configmaps, { namespace: 'default' }, unnamed))).toBe('InvalidObject');
      expect(await codeOf(api.delete(configmaps, { namespace: 'default', name: 'never' }))).toBe('NotFound');
      expect(await codeOf(api.delete(configmaps, { namespace: 'default', name: 'twice' }, { uid: 'other' }))).toBe(
        'Conflict',
      );
      await api.delete(configmaps, { namespace: 'default', name: 'twice' });
    });

    test('merges patches', async () => {
      await api.create(configmaps, { namespace: 'default' }, configMap('patched', { a: '1', b: '2' }));
      const where = { namespace: 'default', name: 'patched' };
      const patched = await api.patch<ConfigMap>(configmaps, where, { data: { a: null, c: '3' } }, 'merge');
      expect(patched.data).toEqual({ b: '2', c: '3' });
      expect(await codeOf(api.patch(configmaps, where, { metadata: { uid: 'other' }, data: {} }, 'merge'))).toBe(
        'Conflict',
      );
      await api.delete(configmaps, where);
    });

    test('strategic patch of a pod status merges conditions by type and honours $patch', async () => {
      const made = await api.create<Pod>(
        pods,
        { namespace: 'default' },
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'p', namespace: 'default' },
          spec: { containers: [{ name: 'c', image: 'i' }] },
        },
      );
      const where = { namespace: 'default', name: 'p', subresource: 'status' };
      const uid = made.metadata.uid;
      const first = {
        metadata: { uid },
        status: {
          phase: 'Running',
          message: 'x',
          podIP: '10.0.0.1',
          podIPs: [{ ip: '10.0.0.1' }],
          conditions: [
            { type: 'Ready', status: 'False' },
            { type: 'example.com/foreign', status: 'True' },
          ],
        },
      };
      await api.patch(pods, where, first, 'strategic');
      const second = {
        metadata: { uid },
        status: {
          message: null,
          podIP: '10.0.0.2',
          podIPs: [{ $patch: 'replace' }, { ip: '10.0.0.2' }],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      };
      await api.patch(pods, where, second, 'strategic');
      const { status } = await api.get<Pod>(pods, { namespace: 'default', name: 'p' });
      expect(status?.message).toBeUndefined();
      expect(status?.podIPs).toEqual([{ ip: '10.0.0.2' }]);
      const conditions = new Map(status?.conditions?.map((condition) => [condition.type, condition.status]));
      expect(conditions.get('Ready')).toBe('True');
      expect(conditions.get('example.com/foreign')).toBe('True');
      const gone = { metadata: { uid }, status: { conditions: [{ type: 'example.com/foreign', $patch: 'delete' }] } };
      await api.patch(pods, where, gone, 'strategic');
      const after = await api.get<Pod>(pods, { namespace: 'default', name: 'p' });
      expect(after.status?.conditions?.some((condition) => condition.type === 'example.com/foreign')).toBe(false);
      await api.delete(pods, { namespace: 'default', name: 'p' }, { gracePeriodSeconds: 0, uid: uid ?? '' });
      expect(await codeOf(api.get(pods, { namespace: 'default', name: 'p' }))).toBe('NotFound');
    });

    test('pages a list', async () => {
      for (let i = 0; i < 7; i++) {
        await api.create(
          configmaps,
          { namespace: 'default' },
          {
            ...configMap(`page-${i}`),
            metadata: { name: `page-${i}`, namespace: 'default', labels: { paged: 'yes' } },
          },
        );
      }
      const selection = { labelSelector: 'paged=yes', limit: 3 };
      const names: (string | undefined)[] = [];
      let next: string | undefined;
      let pages = 0;
      do {
        const page = await api.list(configmaps, { ...selection, ...(next === undefined ? {} : { continue: next }) });
        names.push(...page.items.map((item) => item.metadata.name));
        next = page.metadata.continue;
        pages++;
        expect(Number(page.metadata.resourceVersion)).toBeGreaterThan(0);
      } while (next !== undefined && next !== '');
      expect(pages).toBe(3);
      expect(names).toEqual([0, 1, 2, 3, 4, 5, 6].map((i) => `page-${i}`));
      for (const item of names) await api.delete(configmaps, { namespace: 'default', name: item });
    });

    test('watches one object by field selector from a list on, and ends when aborted', async () => {
      const selection = { namespace: 'default', fieldSelector: 'metadata.name=seen' };
      const { metadata } = await api.list(configmaps, selection);
      const stop = new AbortController();
      const seen: string[] = [];
      const enough = new Promise<void>((resolve) => {
        void (async () => {
          const options = { ...selection, resourceVersion: metadata.resourceVersion ?? '' };
          for await (const event of api.watch<ConfigMap>(configmaps, options, stop.signal)) {
            seen.push(describeEvent(event));
            if (event.type === 'DELETED') stop.abort();
          }
          resolve();
        })();
      });
      await api.create(configmaps, { namespace: 'default' }, configMap('unseen'));
      await api.create(configmaps, { namespace: 'default' }, configMap('seen', { text: 'žluťoučký 🐎' }));
      await api.patch(configmaps, { namespace: 'default', name: 'seen' }, { data: { text: 'b' } }, 'merge');
      await api.delete(configmaps, { namespace: 'default', name: 'seen' });
      await enough;
      expect(seen.filter((line) => line !== 'BOOKMARK')).toEqual([
        'ADDED seen žluťoučký 🐎',
        'MODIFIED seen b',
        'DELETED seen b',
      ]);
      await api.delete(configmaps, { namespace: 'default', name: 'unseen' });
    });

    test('issues service account tokens', async () => {
      const where = { namespace: 'default', name: serviceAccount, subresource: 'token' };
      const body: TokenRequest = { spec: { audiences: ['x'], expirationSeconds: 3600 } };
      const answer = await api.create<TokenRequest & KubeObject>(serviceaccounts, where, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        ...body,
      });
      expect(answer.status?.token).toBeTruthy();
      expect(Date.parse(answer.status?.expirationTimestamp ?? '')).toBeGreaterThan(Date.now());
    });

    test('reaches named groups', async () => {
      const lease = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: 'l', namespace: 'default' },
        spec: { holderIdentity: 'me', leaseDurationSeconds: 40 },
      };
      await api.create(leases, { namespace: 'default' }, lease);
      expect((await api.get(leases, { namespace: 'default', name: 'l' })).metadata.name).toBe('l');
      await api.delete(leases, { namespace: 'default', name: 'l' });
    });

    test('an aborted request is Aborted', async () => {
      const stop = new AbortController();
      stop.abort();
      const outcome = await codeOf(api.get(configmaps, { namespace: 'default', name: 'x' }, stop.signal));
      expect(['Aborted', 'NotFound']).toContain(outcome);
    });
  });
}

function describeEvent(event: WatchEvent<ConfigMap>): string {
  if (event.type === 'BOOKMARK') return 'BOOKMARK';
  return `${event.type} ${event.object.metadata.name} ${event.object.data?.['text'] ?? ''}`;
}
