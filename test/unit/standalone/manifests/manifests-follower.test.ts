import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SystemClock } from '../../../../src/kit/clock.ts';
import { type Logger, silent } from '../../../../src/kit/log.ts';
import type { ConfigMap } from '../../../../src/model/objects.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import { formatMistake } from '../../../../src/standalone/manifests/format-mistake.ts';
import {
  ManifestsFollower,
  type ManifestsFollowerOptions,
} from '../../../../src/standalone/manifests/manifests-follower.ts';
import type { WalStore } from '../../../../src/standalone/store/wal-store.ts';
import { schemas } from '../admission/object-fixtures.ts';
import { temporaryStore } from '../admission/temporary-store.ts';
import { GOOD, GOOD_JSON, GOOD_NAMESPACE, GOOD_OBJECTS, MISTAKEN } from './mistaken-manifests.ts';
import { StoreManifestApi } from './store-manifest-api.ts';

const clock = new SystemClock();
let dir: string;
let store: WalStore;
let api: StoreManifestApi;
let follower: ManifestsFollower | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dhadm-follow-'));
  store = await temporaryStore(clock);
  await store.create(resources.namespaces, { metadata: { name: 'default' } });
  api = new StoreManifestApi(store, clock);
});

afterEach(async () => {
  await follower?.close();
  follower = undefined;
  api.admission.close();
  await rm(dir, { recursive: true, force: true });
});

function follow(options: Partial<ManifestsFollowerOptions> = {}, log: Logger = silent): ManifestsFollower {
  follower = new ManifestsFollower({ dir, settleMs: 10, replacePollMs: 10, ...options }, { api, schemas, clock, log });
  follower.start();
  return follower;
}

const write = (file: string, text: string | Uint8Array): Promise<void> => writeFile(join(dir, file), text);
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 5_000, interval: 10 });
const config = (name: string, value: string): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata: {a: "${value}"}\n`;
const pod = (name: string, spec: string): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const dataOf = (name: string): string | undefined =>
  (store.get(resources.configmaps, 'default', name) as ConfigMap | undefined)?.data?.['a'];
const podOf = (name: string): Pod | undefined => store.get(resources.pods, 'default', name) as Pod | undefined;

describe('ManifestsFollower', () => {
  it('applies what is right in a folder full of mistakes, in order', async () => {
    await write('good.yaml', GOOD);
    await write('good.json', GOOD_JSON);
    await write('namespace.yml', GOOD_NAMESPACE);
    for (const [name, { file = `${name}.yaml`, text }] of Object.entries(MISTAKEN)) await write(file, text);
    const mistakes = await follow().whenApplied();
    expect(mistakes.length).toBeGreaterThanOrEqual(Object.keys(MISTAKEN).length);
    const made = Object.values(resources).flatMap((type) =>
      store
        .list(type)
        .map(
          ({ metadata }) =>
            `${type.kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`,
        ),
    );
    expect(made.filter((name) => name !== 'Namespace default').sort()).toEqual(GOOD_OBJECTS);
    const kinds = api.applied.map((name) => name.split(' ')[0]);
    expect(kinds).toEqual(['Namespace', 'Secret', 'ConfigMap', 'ConfigMap', 'ConfigMap', 'Service', 'Pod', 'Pod']);
  });

  it('follows changes, additions and removals', async () => {
    await write('a.yaml', config('a', 'one'));
    await follow().whenApplied();
    expect(dataOf('a')).toBe('one');
    await write('a.yaml', config('a', 'two'));
    await write('b.yaml', config('b', 'new'));
    await eventually(() => expect([dataOf('a'), dataOf('b')]).toEqual(['two', 'new']));
    // As an editor saves: a new file in the place of the old one.
    await write('.a.yaml.swp', config('a', 'three'));
    await rename(join(dir, '.a.yaml.swp'), join(dir, 'a.yaml'));
    await rm(join(dir, 'b.yaml'));
    await eventually(() => expect([dataOf('a'), dataOf('b')]).toEqual(['three', undefined]));
  });

  it('writes nothing while nothing changes, also after a restart', async () => {
    await write('a.yaml', config('a', 'one'));
    await write('b.yaml', pod('b', '{containers: [{name: a, image: "i:1"}]}'));
    await follow({ rescanMs: 20 }).whenApplied();
    const version = store.resourceVersion;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(store.resourceVersion).toBe(version);
    await follower?.close();
    await follow().whenApplied();
    expect(store.resourceVersion).toBe(version);
  });

  it('makes again what was deleted', async () => {
    await write('a.yaml', config('a', 'one'));
    await follow({ rescanMs: 20 }).whenApplied();
    await store.remove(resources.configmaps, 'default', 'a');
    await eventually(() => expect(dataOf('a')).toBe('one'));
  });

  it('prunes only its own, and nothing of a file that cannot be read', async () => {
    await store.create(resources.configmaps, { metadata: { namespace: 'default', name: 'others' } });
    await write('a.yaml', config('a', 'one'));
    await write('b.yaml', config('b', 'one'));
    await follow().whenApplied();
    await write('a.yaml', 'apiVersion: v1\n\tkind: ConfigMap\n');
    await rm(join(dir, 'b.yaml'));
    await eventually(() => expect(dataOf('b')).toBeUndefined());
    expect(dataOf('a')).toBe('one');
    expect(store.get(resources.configmaps, 'default', 'others')).toBeDefined();
    await eventually(() =>
      expect(follower?.mistakes.map(formatMistake)).toEqual([expect.stringContaining('a.yaml:2')]),
    );
    await write('a.yaml', config('c', 'moved'));
    await eventually(() => expect([dataOf('a'), dataOf('c')]).toEqual([undefined, 'moved']));
  });

  it('keeps everything when the folder itself is away', async () => {
    await write('a.yaml', config('a', 'one'));
    await follow({ rescanMs: 20 }).whenApplied();
    await rename(dir, `${dir}-away`);
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(dataOf('a')).toBe('one');
    await rename(`${dir}-away`, dir);
  });

  it('replaces a pod whose change is not allowed in place, once it has ended', async () => {
    await write('a.yaml', `${pod('a', '{containers: [{name: a, image: "i:1"}]}')}---\n${config('c', 'one')}`);
    await follow().whenApplied();
    const first = podOf('a');
    expect(first?.spec.nodeName).toBe('n1');
    await write('a.yaml', `${pod('a', '{containers: [{name: a, image: "i:2"}]}')}---\n${config('c', 'two')}`);
    await eventually(() => expect(podOf('a')?.spec.containers[0]?.image).toBe('i:2'));
    expect(podOf('a')?.metadata.uid).toBe(first?.metadata.uid);
    await write(
      'a.yaml',
      `${pod('a', '{containers: [{name: a, image: "i:2", command: [sh]}]}')}---\n${config('c', 'three')}`,
    );
    await eventually(() => expect(podOf('a')?.metadata.deletionTimestamp).toBeDefined());
    // Its grace holds up nobody else.
    await eventually(() => expect(dataOf('c')).toBe('three'));
    expect(follower?.mistakes).toEqual([]);
    await api.finish(resources.pods, 'default', 'a');
    await eventually(() => expect(podOf('a')?.spec.containers[0]?.command).toEqual(['sh']));
    expect(podOf('a')?.metadata.uid).not.toBe(first?.metadata.uid);
  });

  it('tells what the API refuses, once, and does the rest', async () => {
    const warnings: string[] = [];
    const log: Logger = { ...silent, warn: (_fields, message) => warnings.push(message) };
    await write(
      'a.yaml',
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: nowhere}\n---\n${config('a', 'one')}`,
    );
    const mistakes = await follow({ rescanMs: 20 }, log).whenApplied();
    expect(mistakes.map(formatMistake)).toEqual([
      'a.yaml:1: document 1: ConfigMap nowhere/x: the API refuses it: namespaces "nowhere" not found',
    ]);
    expect(dataOf('a')).toBe('one');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(warnings).toHaveLength(1);
    await store.create(resources.namespaces, { metadata: { name: 'nowhere' } });
    await eventually(() => expect(follower?.mistakes).toEqual([]));
  });

  it('waits for an API that is away', async () => {
    api.away = true;
    await write('a.yaml', config('a', 'one'));
    const started = follow({ rescanMs: 20 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    api.away = false;
    expect(await started.whenApplied()).toEqual([]);
    expect(dataOf('a')).toBe('one');
  });
});
