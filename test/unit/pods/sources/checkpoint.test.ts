import { describe, expect, it } from 'vitest';
import type { ObjectSource, TokenSource } from '../../../../src/cluster/port.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { type Logger, silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { KubeObject } from '../../../../src/model/meta.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import type { Service } from '../../../../src/model/service.ts';
import { type Checkpoint, CheckpointFile } from '../../../../src/pods/sources/checkpoint-file.ts';
import { CheckpointKeeper } from '../../../../src/pods/sources/checkpoint-keeper.ts';
import type { ClaimResolverDeps } from '../../../../src/pods/volumes/claims.ts';
import { FakeView } from '../../services/support/fake-view.ts';

const PATH = '/root/checkpoint/pods';
const KEY = '/pki/checkpoint.key';
const nothing: Checkpoint = { pods: [], objects: [], services: [], tokens: [] };

function pod(name: string, more: Partial<Pod> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'web', uid: `uid-${name}`, resourceVersion: '1' },
    spec: { containers: [{ name: 'c', image: 'x', envFrom: [{ secretRef: { name: 'secret' } }] }] },
    ...more,
  };
}

function warnings(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const log: Logger = {
    ...silent,
    warn: (fields, message) => lines.push(`${message}: ${JSON.stringify(fields)}`),
    child: () => log,
  };
  return { log, lines };
}

function fileOf(
  files: FakeFiles,
  more: { nodeName?: string; credentialPath?: string; log?: Logger } = {},
): CheckpointFile {
  const { nodeName = 'node-1', credentialPath, log = silent } = more;
  return new CheckpointFile({ path: PATH, keyPath: KEY, credentialPath, nodeName }, { files, log });
}

/** ConfigMaps and Secrets that can be away. */
class Objects implements ObjectSource {
  readonly there = new Map<string, KubeObject>();
  away = false;
  asked = 0;
  private readonly listeners = new Set<(owners: ReadonlySet<string>, key: string) => void>();

  need(): void {}
  release(): void {}

  async get<T extends KubeObject>(type: { kind: string }, namespace: string, name: string): Promise<T> {
    this.asked++;
    if (this.away) throw new CodedError('Unavailable', 'away');
    const found = this.there.get(`${type.kind}/${namespace}/${name}`);
    if (found === undefined) throw new CodedError('NotFound', `${name} is not there`);
    return found as T;
  }

  subscribe(listener: (owners: ReadonlySet<string>, key: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  put(kind: string, name: string, value: string): void {
    const key = `${kind}/web/${name}`;
    this.there.set(key, { metadata: { name, namespace: 'web' }, data: { value } } as KubeObject);
    for (const listener of this.listeners) listener(new Set(), key);
  }
}

/** As TokenRequest answers: signed, with a claim of its end. */
class Tokens implements TokenSource {
  away = false;
  count = 0;
  private readonly clock: ManualClock;
  constructor(clock: ManualClock) {
    this.clock = clock;
  }
  async token(): Promise<{ token: string; renewAt: number }> {
    if (this.away) throw new CodedError('Unavailable', 'away');
    const exp = Math.floor(this.clock.now() / 1000) + 3600;
    const claims = Buffer.from(JSON.stringify({ exp, n: ++this.count })).toString('base64url');
    return { token: `h.${claims}.s`, renewAt: this.clock.now() + 2_880_000 };
  }
  forget(): void {}
}

const tokenRequest = {
  namespace: 'web',
  serviceAccount: 'default',
  podName: 'a',
  podUid: 'uid-a',
  audience: undefined,
  expirationSeconds: 3600,
};

interface World {
  readonly clock: ManualClock;
  readonly pods: FakeView<Pod>;
  readonly services: FakeView<Service>;
  readonly objects: Objects;
  readonly tokens: Tokens;
  readonly keeper: CheckpointKeeper;
  readonly throughObjects: ObjectSource;
  readonly throughTokens: TokenSource;
}

function world(
  files: FakeFiles,
  options: { pods?: readonly Pod[]; synced?: boolean; clock?: ManualClock } = {},
): World {
  const { clock = new ManualClock(), synced = true } = options;
  const pods = new FakeView<Pod>(options.pods ?? [], synced);
  const services = new FakeView<Service>(
    [
      { metadata: { name: 'mine', namespace: 'web' }, spec: { clusterIP: '10.0.0.2', ports: [] } },
      { metadata: { name: 'kubernetes', namespace: 'default' }, spec: { clusterIP: '10.0.0.1', ports: [] } },
      { metadata: { name: 'other', namespace: 'else' }, spec: { clusterIP: '10.0.0.3', ports: [] } },
    ] as Service[],
    synced,
  );
  const objects = new Objects();
  const tokens = new Tokens(clock);
  const keeper = new CheckpointKeeper({ file: fileOf(files), pods, services, clock, log: silent });
  return {
    clock,
    pods,
    services,
    objects,
    tokens,
    keeper,
    throughObjects: keeper.objects(objects),
    throughTokens: keeper.tokens(tokens),
  };
}

describe('the checkpoint file', () => {
  it('comes back as it was, and shows nothing of itself on disk', async () => {
    const files = new FakeFiles();
    const checkpoint = { ...nothing, pods: [pod('a')] };
    await fileOf(files).save(checkpoint);
    expect(await fileOf(files).load()).toEqual(checkpoint);
    const bytes = (await files.read(PATH)).toString('latin1');
    expect(bytes).not.toContain('uid-a');
    expect((await files.stat(PATH))?.mode).toBe(0o600);
    expect((await files.stat(KEY))?.mode).toBe(0o600);
  });

  it.each<[string, (files: FakeFiles) => Promise<unknown>, RegExp]>([
    [
      'a changed byte',
      async (files) => {
        const bytes = await files.read(PATH);
        bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
        await files.write(PATH, bytes, 0o600);
      },
      /was changed, or is of another key/,
    ],
    ['a cut end', async (files) => files.write(PATH, (await files.read(PATH)).subarray(0, 40), 0o600), /was changed/],
    ['another file', async (files) => files.write(PATH, 'hello', 0o600), /not a sealed file/],
    ['another key', async (files) => files.write(KEY, Buffer.alloc(32, 1), 0o600), /of another key/],
    ['a key that others can read', async (files) => files.setMode(KEY, 0o644), /mode 644; 600 is needed/],
    ['no key', async (files) => files.remove(KEY), /checkpoint\.key/],
  ])('with %s is passed over with a warning', async (_what, spoil, expected) => {
    const files = new FakeFiles();
    await fileOf(files).save({ ...nothing, pods: [pod('a')] });
    await spoil(files);
    const { log, lines } = warnings();
    expect(await fileOf(files, { log }).load()).toBeUndefined();
    expect(lines.join('\n')).toMatch(expected);
  });

  it('is not trusted under another node name', async () => {
    const files = new FakeFiles();
    await fileOf(files).save({ ...nothing, pods: [pod('a')] });
    const { log, lines } = warnings();
    expect(await fileOf(files, { nodeName: 'node-2', log }).load()).toBeUndefined();
    expect(lines.join('\n')).toMatch(/is of the node .*node-1.*, this is node-2/);
  });

  it('falls back to the one before it when the last write was cut off', async () => {
    const files = new FakeFiles();
    await fileOf(files).save({ ...nothing, pods: [pod('old')] });
    await fileOf(files).save({ ...nothing, pods: [pod('new')] });
    await files.write(PATH, '', 0o600);
    expect((await fileOf(files).load())?.pods[0]?.metadata.name).toBe('old');
  });

  it('takes a key from outside before its own', async () => {
    const files = new FakeFiles();
    await files.makeDirectory('/credentials', 0o700);
    await files.write('/credentials/key', Buffer.alloc(20, 7), 0o400);
    await fileOf(files, { credentialPath: '/credentials/key' }).save({ ...nothing, pods: [pod('a')] });
    expect(await files.stat(KEY)).toBeUndefined();
    expect((await fileOf(files, { credentialPath: '/credentials/key' }).load())?.pods).toHaveLength(1);
    expect(await fileOf(files).load()).toBeUndefined();
  });
});

describe('keeping and restoring', () => {
  const written = async (): Promise<{ files: FakeFiles; clock: ManualClock; token: string }> => {
    const files = new FakeFiles();
    const first = world(files, {
      pods: [
        pod('a'),
        pod('done', { status: { phase: 'Succeeded' } }),
        pod('going', { metadata: { name: 'going', namespace: 'web', uid: 'g', deletionTimestamp: 'now' } }),
        pod('mirror', {
          metadata: { name: 'mirror', namespace: 'web', uid: 'm', annotations: { 'kubernetes.io/config.mirror': 'h' } },
        }),
      ],
    });
    first.objects.put('Secret', 'secret', 'one');
    first.objects.put('Secret', 'unused', 'x');
    await first.throughObjects.get(resources.secrets, 'web', 'secret');
    await first.throughObjects.get(resources.secrets, 'web', 'unused');
    const { token } = await first.throughTokens.token(tokenRequest);
    await first.keeper.write();
    return { files, clock: first.clock, token };
  };

  it('has the pods that are to run, what they have read, their tokens and Services', async () => {
    const { files, token } = await written();
    const kept = await fileOf(files).load();
    expect(kept?.pods.map(({ metadata }) => metadata.name)).toEqual(['a']);
    expect(kept?.objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`)).toEqual(['Secret/secret']);
    expect(kept?.services.map(({ metadata }) => metadata.name)).toEqual(['mine', 'kubernetes']);
    expect(kept?.tokens.map((one) => one.token)).toEqual([token]);
  });

  it("gives back objects, tokens and Services while the API is away, and the API's own from its return on", async () => {
    const { files, clock, token } = await written();
    const second = world(files, { synced: false, clock });
    second.objects.away = true;
    second.tokens.away = true;
    const restored = await second.keeper.restore();
    expect(restored.map(({ metadata }) => metadata.name)).toEqual(['a']);
    expect(await second.throughObjects.get(resources.secrets, 'web', 'secret')).toMatchObject({
      data: { value: 'one' },
    });
    expect((await second.throughTokens.token(tokenRequest)).token).toBe(token);
    const services = second.keeper.services(second.services);
    expect(services.synced).toBe(true);
    expect([...services.values()].map(({ metadata }) => metadata.name)).toContain('mine');
    await expect(second.throughObjects.get(resources.secrets, 'web', 'other')).rejects.toThrow('away');

    const stop = new AbortController();
    const done = second.keeper.run(stop.signal).catch(() => {});
    second.objects.away = false;
    second.tokens.away = false;
    second.objects.put('Secret', 'secret', 'two');
    second.pods.put(pod('a'));
    second.pods.markSynced();
    await clock.advance(15_000);
    expect(await second.throughObjects.get(resources.secrets, 'web', 'secret')).toMatchObject({
      data: { value: 'two' },
    });
    expect((await second.throughTokens.token(tokenRequest)).token).not.toBe(token);
    // What the pods had from the checkpoint is in the next one, as the API has it by now.
    expect((await fileOf(files).load())?.objects).toMatchObject([{ data: { value: 'two' } }]);
    stop.abort();
    await done;
  });

  it('leads from claims to volumes, for the pods that have them, and knows this node’s labels', async () => {
    const volumes = [
      { name: 'd', persistentVolumeClaim: { claimName: 'data' } },
      { name: 'own', ephemeral: { volumeClaimTemplate: { spec: {} } } },
    ];
    const spec = { nodeName: 'node-1', containers: [{ name: 'c', image: 'x' }], volumes };
    const files = new FakeFiles();
    const first = world(files, { pods: [pod('a', { spec })] });
    const there = new Map<string, KubeObject>();
    for (const name of ['data', 'a-own', 'elsewhere']) {
      there.set(`persistentvolumeclaims web ${name}`, {
        metadata: { name, namespace: 'web' },
        spec: { volumeName: `pv-${name}` },
      } as KubeObject);
      there.set(`persistentvolumes undefined pv-${name}`, { metadata: { name: `pv-${name}` } });
    }
    let away = false;
    const api: ClaimResolverDeps['api'] = {
      get: async <T>({ plural }: { plural: string }, target: { namespace?: string; name?: string }): Promise<T> => {
        if (away) throw new CodedError('Unavailable', 'away');
        return there.get(`${plural} ${target.namespace} ${target.name}`) as T;
      },
    };
    const node = { metadata: { name: 'node-1', labels: { zone: 'a' }, resourceVersion: '7' } };
    const through = first.keeper.claims({ api, node: () => node });
    const ask = (deps: ClaimResolverDeps, name: string): Promise<KubeObject>[] => [
      deps.api.get(resources.persistentvolumeclaims, { namespace: 'web', name }),
      deps.api.get(resources.persistentvolumes, { name: `pv-${name}` }),
    ];
    expect(through.node()).toBe(node);
    const found = await Promise.all(['data', 'a-own', 'elsewhere'].flatMap((name) => ask(through, name)));
    await first.keeper.write();

    away = true;
    const second = world(files, { synced: false });
    await second.keeper.restore();
    const restored = second.keeper.claims({ api, node: () => undefined });
    expect(await Promise.all(['data', 'a-own'].flatMap((name) => ask(restored, name)))).toMatchObject(
      found.slice(0, 4),
    );
    expect(restored.node()?.metadata).toEqual({ name: 'node-1', labels: { zone: 'a' } });
    await expect(Promise.all(ask(restored, 'elsewhere'))).rejects.toThrow('away');
  });

  it('has no token to give once it has expired', async () => {
    const { files, clock } = await written();
    await clock.advance(3_700_000);
    const second = world(files, { synced: false, clock });
    second.tokens.away = true;
    await second.keeper.restore();
    await expect(second.throughTokens.token(tokenRequest)).rejects.toThrow('away');
  });

  it('writes seldom, and not at all when nothing has changed', async () => {
    const files = new FakeFiles();
    const one = world(files, { pods: [pod('a')] });
    const stop = new AbortController();
    const done = one.keeper.run(stop.signal).catch(() => {});
    await one.clock.advance(3000);
    const first = (await files.stat(PATH))?.inode;
    for (let round = 0; round < 50; round++) {
      one.pods.put(pod('a', { status: { message: `${round}` } }));
      await one.clock.advance(100);
    }
    expect((await files.stat(PATH))?.inode).toBe(first);
    await one.clock.advance(20_000);
    const second = (await files.stat(PATH))?.inode;
    expect(second).not.toBe(first);
    one.pods.put(pod('a', { status: { message: '49' } }));
    await one.clock.advance(30_000);
    expect((await files.stat(PATH))?.inode).toBe(second);
    stop.abort();
    await done;
  });

  it('keeps its copy of an object that the API cannot give now', async () => {
    const { files, clock } = await written();
    const second = world(files, { synced: false, clock });
    second.objects.away = true;
    await second.keeper.restore();
    const stop = new AbortController();
    const done = second.keeper.run(stop.signal).catch(() => {});
    second.pods.put(pod('a'));
    second.pods.put(pod('b'));
    second.pods.markSynced();
    await clock.advance(15_000);
    const kept = await fileOf(files).load();
    expect(kept?.pods).toHaveLength(2);
    expect(kept?.objects).toMatchObject([{ data: { value: 'one' } }]);
    stop.abort();
    await done;
  });
});
