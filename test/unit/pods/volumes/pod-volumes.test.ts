import { beforeEach, describe, expect, it } from 'vitest';
import { FakeBlockDevices } from '../../../../src/host/block/fake.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { FakeMounts } from '../../../../src/host/mount/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Pod, Volume, VolumeMount } from '../../../../src/model/pod.ts';
import { PodVolumes } from '../../../../src/pods/volumes/pod-volumes.ts';
import { VolumeMetrics } from '../../../../src/pods/volumes/volume-metrics.ts';

const ROOT = '/var/lib/kubelet';
const P = `${ROOT}/pods/u1`;

function podWith(volumes: Volume[], extra: Partial<Pod['spec']> = {}, mounts: Partial<VolumeMount>[] = []): Pod {
  const volumeMounts = [
    ...volumes.map(({ name }) => ({ name, mountPath: `/mnt/${name}` })),
    ...mounts.map((mount) => ({ name: 'v', mountPath: '/x', ...mount })),
  ];
  return {
    metadata: { name: 'p', namespace: 'ns', uid: 'u1', labels: { app: 'web' }, annotations: { note: 'a\n"b"' } },
    spec: { containers: [{ name: 'c', volumeMounts }], volumes, ...extra },
  };
}

describe('PodVolumes', () => {
  let events: string[];
  let files: FakeFiles;
  let mounts: FakeMounts;
  let clock: ManualClock;
  let objects: Map<string, unknown>;
  let token: { token: string; renewAt: number };
  let tokenRequests: unknown[];
  let hanging: Set<string>;
  let volumes: PodVolumes;

  beforeEach(async () => {
    events = [];
    hanging = new Set();
    files = new FakeFiles({
      boundAt: (path) => mounts.boundAt(path),
      hangs: (path) => [...hanging].some((prefix) => path.startsWith(prefix)),
    });
    mounts = new FakeMounts({ exists: async (path) => (await files.stat(path)) !== undefined });
    clock = new ManualClock();
    objects = new Map();
    token = { token: 't1', renewAt: 1000 };
    tokenRequests = [];
    await files.makeDirectory(ROOT, 0o750);
    volumes = make();
  });

  function make(recursiveReadOnly = false): PodVolumes {
    return new PodVolumes(
      { rootDirectory: ROOT },
      {
        files,
        mounts,
        clock,
        log: silent,
        events: { event: (_about, _type, reason, message) => void events.push(`${reason}: ${message}`) },
        blocks: new FakeBlockDevices(),
        objects: {
          get: async <T>(type: { plural: string }, namespace: string, name: string): Promise<T> => {
            const found = objects.get(`${type.plural}/${namespace}/${name}`);
            if (found === undefined) throw new CodedError('NotFound', `${type.plural} "${name}" not found`);
            return found as T;
          },
        },
        tokens: {
          token: async (request) => {
            tokenRequests.push(request);
            return token;
          },
        },
        allocatable: () => ({ cpu: '4', memory: '1Gi' }),
        metrics: new VolumeMetrics(new Metrics(), clock),
        recursiveReadOnly: () => recursiveReadOnly,
      },
    );
  }

  it('makes an emptyDir on disk once, world-writable or for the fsGroup', async () => {
    await volumes.setUp(podWith([{ name: 'scratch', emptyDir: {} }, { name: 'none' }]));
    const path = `${P}/volumes/kubernetes.io~empty-dir/scratch`;
    expect(await files.lstat(path)).toMatchObject({ kind: 'directory', mode: 0o777 });
    expect(await files.lstat(`${P}/volumes/kubernetes.io~empty-dir/none`)).toMatchObject({ mode: 0o777 });
    await files.write(`${path}/kept`, 'x', 0o600);
    await files.setMode(path, 0o700);
    await make().setUp(podWith([{ name: 'scratch', emptyDir: {} }], { securityContext: { fsGroup: 77 } }));
    expect(await files.lstat(path)).toMatchObject({ mode: 0o700, gid: 0 });
    expect(await files.list(path)).toEqual(['kept']);
    await volumes.setUp(podWith([{ name: 'group', emptyDir: {} }], { securityContext: { fsGroup: 77 } }));
    expect(await files.lstat(`${P}/volumes/kubernetes.io~empty-dir/group`)).toMatchObject({ mode: 0o2777, gid: 77 });
  });

  it.each([
    [undefined, undefined, '1048576k'],
    ['64Mi', undefined, '65536k'],
    ['2Gi', undefined, '1048576k'],
    ['64Mi', '32Mi', '32768k'],
    [undefined, '32Mi', '32768k'],
  ])('mounts a memory emptyDir of sizeLimit %s and memory limit %s with %s', async (sizeLimit, memory, size) => {
    const volume: Volume = { name: 'm', emptyDir: { medium: 'Memory', ...(sizeLimit ? { sizeLimit } : {}) } };
    const pod = podWith([volume], { securityContext: { fsGroup: 5 } });
    const [container] = pod.spec.containers;
    if (memory !== undefined && container !== undefined) container.resources = { limits: { memory } };
    await volumes.setUp(pod);
    await make().setUp(pod);
    const table = await mounts.list(P);
    expect(table).toHaveLength(1);
    expect(table[0]).toMatchObject({ mountPoint: `${P}/volumes/kubernetes.io~empty-dir/m`, type: 'tmpfs' });
    expect(table[0]?.superOptions).toBe(`rw,size=${size},mode=2777,gid=5`);
  });

  it('writes configMaps to disk and secrets to memory, and follows their changes', async () => {
    objects.set('configmaps/ns/cm', { metadata: {}, data: { key: 'one' } });
    objects.set('secrets/ns/s', { metadata: {}, data: { pw: Buffer.from('pass').toString('base64') } });
    const pod = podWith([
      { name: 'cfg', configMap: { name: 'cm' } },
      { name: 'sec', secret: { secretName: 's', defaultMode: 0o400 } },
    ]);
    await volumes.setUp(pod);
    const [container] = pod.spec.containers;
    if (container === undefined) throw new Error('no container');
    const [cfg, sec] = await volumes.mountsFor(pod, container, {});
    expect(cfg).toEqual({
      containerPath: '/mnt/cfg',
      hostPath: `${P}/volumes/kubernetes.io~configmap/cfg`,
      readonly: true,
      propagation: 'PRIVATE',
    });
    expect((await files.read(`${cfg?.hostPath}/key`)).toString()).toBe('one');
    expect((await files.read(`${sec?.hostPath}/pw`)).toString()).toBe('pass');
    expect(await files.stat(`${sec?.hostPath}/pw`)).toMatchObject({ mode: 0o400 });
    // The secret lies on the one tmpfs; the pod's own directory has a link to it.
    const [store] = await mounts.list(ROOT);
    expect(store?.type).toBe('tmpfs');
    expect(sec?.hostPath.startsWith(`${store?.mountPoint}/u1/`)).toBe(true);
    expect(await files.readLink(`${P}/volumes/kubernetes.io~secret/sec`)).toBe(sec?.hostPath);

    objects.set('configmaps/ns/cm', { metadata: {}, data: { key: 'two', more: 'x' } });
    expect(await make().refresh(pod)).toEqual({});
    expect((await files.read(`${cfg?.hostPath}/key`)).toString()).toBe('two');
    expect(await mounts.list(ROOT)).toHaveLength(1);
  });

  it('makes a secret anew when its memory is gone, as after a reboot', async () => {
    objects.set('secrets/ns/s', { metadata: {}, data: { pw: Buffer.from('pass').toString('base64') } });
    const pod = podWith([{ name: 'sec', secret: { secretName: 's' } }]);
    await volumes.setUp(pod);
    const [store] = await mounts.list(ROOT);
    await mounts.unmount(store?.mountPoint ?? '');
    await files.removeTree(store?.mountPoint ?? '');
    const again = make();
    await again.setUp(pod);
    const [mount] = await again.mountsFor(pod, pod.spec.containers[0] ?? { name: '' }, {});
    expect((await files.read(`${mount?.hostPath}/pw`)).toString()).toBe('pass');
    expect(await mounts.list(ROOT)).toHaveLength(1);
  });

  it('keeps secrets on disk where nothing can be mounted', async () => {
    mounts.tmpfs = async () => {
      throw new CodedError('Forbidden', 'mount: must be superuser');
    };
    objects.set('secrets/ns/s', { metadata: {}, data: { pw: '' } });
    await volumes.setUp(podWith([{ name: 'sec', secret: { secretName: 's' } }]));
    expect((await files.lstat(`${P}/volumes/kubernetes.io~secret/sec`))?.kind).toBe('directory');
  });

  it('projects tokens, configMaps, secrets and pod fields into one volume', async () => {
    objects.set('configmaps/ns/ca', { metadata: {}, data: { 'ca.crt': 'CA' } });
    const sources = [
      { serviceAccountToken: { path: 'token', expirationSeconds: 600, audience: 'me' } },
      { configMap: { name: 'ca', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { secret: { name: 'absent', optional: true } },
      {
        downwardAPI: {
          items: [
            { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
            { path: 'annotations', fieldRef: { fieldPath: 'metadata.annotations' }, mode: 0o600 },
            { path: 'cpu', resourceFieldRef: { containerName: 'c', resource: 'limits.cpu', divisor: '1m' } },
          ],
        },
      },
    ];
    const pod = podWith([{ name: 'all', projected: { sources } }], { serviceAccountName: 'robot' });
    await volumes.setUp(pod);
    const [mount] = await volumes.mountsFor(pod, pod.spec.containers[0] ?? { name: '' }, {});
    const text = async (name: string): Promise<string> => (await files.read(`${mount?.hostPath}/${name}`)).toString();
    expect(await text('token')).toBe('t1');
    expect(await text('ca.crt')).toBe('CA');
    expect(await text('labels')).toBe('app="web"');
    expect(await text('annotations')).toBe('note="a\\n\\"b\\""');
    expect(await text('cpu')).toBe('4000');
    expect(await files.stat(`${mount?.hostPath}/annotations`)).toMatchObject({ mode: 0o600 });
    expect(await files.stat(`${mount?.hostPath}/token`)).toMatchObject({ mode: 0o644 });
    expect(tokenRequests[0]).toEqual({
      namespace: 'ns',
      serviceAccount: 'robot',
      podName: 'p',
      podUid: 'u1',
      audience: 'me',
      expirationSeconds: 600,
    });
    token = { token: 't2', renewAt: 5000 };
    expect(await volumes.refresh(pod)).toEqual({ againAtMs: 5000 });
    expect(await text('token')).toBe('t2');
    // Labels change with the pod object.
    pod.metadata.labels = { app: 'db' };
    await volumes.refresh(pod);
    expect(await text('labels')).toBe('app="db"');
  });

  it.each([
    [{}, [{}, {}], 0o644, 0, 0],
    [{ fsGroup: 9 }, [{}, {}], 0o640, 0, 9],
    [{ runAsUser: 1000 }, [{}, {}], 0o600, 1000, 0],
    [{ runAsUser: 1000, fsGroup: 9 }, [{}, {}], 0o640, 1000, 9],
    [{ runAsUser: 1000 }, [{}, { runAsUser: 2 }], 0o644, 0, 0],
  ])('shields a token for securityContext %j and %j', async (securityContext, own, mode, uid, gid) => {
    const sources = [{ serviceAccountToken: { path: 'token' } }];
    const pod = podWith([{ name: 't', projected: { sources } }], { securityContext });
    const [first] = pod.spec.containers;
    if (first === undefined) throw new Error('no container');
    pod.spec.containers = own.map((context, index) => ({ ...first, name: `c${index}`, securityContext: context }));
    await volumes.setUp(pod);
    const [mount] = await volumes.mountsFor(pod, first, {});
    expect(await files.stat(`${mount?.hostPath}/token`)).toMatchObject({ mode, uid, gid });
  });

  it.each<[string, Volume, string]>([
    ['an absent ConfigMap', { name: 'v', configMap: { name: 'no' } }, 'configmap "no" not found'],
    ['an absent Secret', { name: 'v', secret: { secretName: 'no' } }, 'secret "no" not found'],
    [
      'an absent key',
      { name: 'v', configMap: { name: 'cm', items: [{ key: 'k', path: 'p' }] } },
      'non-existent config key: k',
    ],
    [
      'an escaping path',
      { name: 'v', configMap: { name: 'cm', items: [{ key: 'a', path: '../p' }] } },
      "must not contain '..'",
    ],
    [
      'huge pages that nobody requests',
      { name: 'v', emptyDir: { medium: 'HugePages' } },
      'medium HugePages: hugePages storage requested, but there is no resource request for huge pages',
    ],
    ['an unknown medium', { name: 'v', emptyDir: { medium: 'Paper' } }, 'unknown storage medium "Paper"'],
    [
      'a field that volumes may not have',
      { name: 'v', downwardAPI: { items: [{ path: 'x', fieldRef: { fieldPath: 'status.podIP' } }] } },
      'unsupported fieldPath: status.podIP',
    ],
    [
      'a hostPath of the wrong kind',
      { name: 'v', hostPath: { path: '/h/file', type: 'Directory' } },
      'hostPath type check failed: /h/file is not a directory',
    ],
    ['an absent socket', { name: 'v', hostPath: { path: '/h/no', type: 'Socket' } }, '/h/no is not a socket file'],
    [
      'an absent device',
      { name: 'v', hostPath: { path: '/h/no', type: 'CharDevice' } },
      '/h/no is not a character device',
    ],
    [
      'an absent block device',
      { name: 'v', hostPath: { path: '/h/no', type: 'BlockDevice' } },
      '/h/no is not a block device',
    ],
    ['a hostPath with ..', { name: 'v', hostPath: { path: '/h/../etc' } }, "must not contain '..'"],
  ])('refuses %s, naming the volume', async (_, volume, why) => {
    objects.set('configmaps/ns/cm', { metadata: {}, data: { a: '' } });
    await files.makeDirectory('/h', 0o755);
    await files.write('/h/file', '', 0o644);
    const error = await volumes.setUp(podWith([volume])).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CodedError);
    expect(error).toMatchObject({ reason: 'FailedMount' });
    expect(String(error)).toContain('MountVolume.SetUp failed for volume "v" : ');
    expect(String(error)).toContain(why);
    expect(await files.list(P)).toBeUndefined();
  });

  it.each<[string, Volume, string]>([
    [
      'a claim without an API',
      { name: 'v', persistentVolumeClaim: { claimName: 'x' } },
      'no API to read claim "x" from',
    ],
    ['an unknown kind', { name: 'v', csi: {} }, 'volume "v" has type csi, which this node cannot provide'],
    ['two types', { name: 'v', emptyDir: {}, configMap: { name: 'cm' } }, 'emptyDir and configMap'],
  ])('does not try %s', async (_, volume, why) => {
    const error = await volumes.setUp(podWith([volume])).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason: 'FailedMount' });
    expect(String(error)).toContain(
      'Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: ',
    );
    expect(String(error)).toContain(why);
    expect(await files.list(P)).toBeUndefined();
  });

  it('names every volume that failed, and sets up the others', async () => {
    const pod = podWith([
      { name: 'a', configMap: { name: 'no' } },
      { name: 'b', emptyDir: {} },
      { name: 'c', csi: {} },
    ]);
    await expect(volumes.setUp(pod)).rejects.toThrow(
      /^Unable to .*unmounted volumes=\[a c\].* failed to process volumes=\[c\]: volume "c".*; .*volume "a"/,
    );
    expect(await files.list(`${P}/volumes/kubernetes.io~empty-dir`)).toEqual(['b']);
  });

  it('leaves volumes alone that nobody mounts, and optional sources that are absent empty', async () => {
    const pod = podWith([{ name: 'v', configMap: { name: 'no', optional: true } }]);
    pod.spec.volumes?.push({ name: 'unused', csi: {} });
    await volumes.setUp(pod);
    expect(await files.list(`${P}/volumes/kubernetes.io~configmap/v`)).toHaveLength(2);
  });

  it('makes hostPaths that may be made', async () => {
    await volumes.setUp(
      podWith([
        { name: 'd', hostPath: { path: '/new/dir', type: 'DirectoryOrCreate' } },
        { name: 'f', hostPath: { path: '/new-file', type: 'FileOrCreate' } },
        { name: 'any', hostPath: { path: '/nowhere' } },
      ]),
    );
    expect(await files.lstat('/new/dir')).toMatchObject({ kind: 'directory', mode: 0o755 });
    expect(await files.lstat('/new')).toMatchObject({ mode: 0o755 });
    expect(await files.lstat('/new-file')).toMatchObject({ kind: 'file', mode: 0o644 });
    expect(await files.lstat('/nowhere')).toBeUndefined();
  });

  it('passes propagation and read-only on, recursively where asked and possible', async () => {
    const pod = podWith([{ name: 'v', hostPath: { path: '/h' } }]);
    const mount = async (given: Partial<VolumeMount>, able = true) => {
      const container = { name: 'c', volumeMounts: [{ name: 'v', mountPath: 'x', ...given }] };
      return (await make(able).mountsFor(pod, container, {}))[0];
    };
    expect(await mount({})).toEqual({ containerPath: '/x', hostPath: '/h', readonly: false, propagation: 'PRIVATE' });
    expect((await mount({ mountPropagation: 'Bidirectional' }))?.propagation).toBe('BIDIRECTIONAL');
    expect((await mount({ mountPropagation: 'HostToContainer' }))?.propagation).toBe('HOST_TO_CONTAINER');
    expect(await mount({ readOnly: true, recursiveReadOnly: 'Enabled' })).toMatchObject({ recursiveReadOnly: true });
    expect(await mount({ readOnly: true, recursiveReadOnly: 'IfPossible' }, false)).not.toHaveProperty(
      'recursiveReadOnly',
    );
    await expect(mount({ readOnly: true, recursiveReadOnly: 'Enabled' }, false)).rejects.toThrow(
      'not supported by the runtime',
    );
    await expect(mount({ recursiveReadOnly: 'Enabled' })).rejects.toThrow('it is not read-only');
    await expect(
      mount({ readOnly: true, recursiveReadOnly: 'Enabled', mountPropagation: 'HostToContainer' }),
    ).rejects.toThrow('not compatible with propagation "HostToContainer"');
    await expect(mount({ name: 'other' })).rejects.toThrow('cannot find volume "other" to mount into container "c"');
  });

  it('mounts subPaths, expanded, from inside the volume', async () => {
    const pod = podWith([{ name: 'v', emptyDir: {} }], { securityContext: { fsGroup: 8 } });
    await volumes.setUp(pod);
    const container = {
      name: 'c',
      volumeMounts: [
        { name: 'v', mountPath: '/a', subPath: 'one/two' },
        { name: 'v', mountPath: '/b', subPathExpr: 'logs/$(POD)' },
      ],
    };
    const [a, b] = await volumes.mountsFor(pod, container, { POD: 'p-0' });
    const path = `${P}/volumes/kubernetes.io~empty-dir/v`;
    expect(a?.hostPath).toBe(`${P}/volume-subpaths/v/c/0`);
    expect(await files.lstat(`${path}/one/two`)).toMatchObject({ mode: 0o2777, gid: 8 });
    expect(await files.lstat(`${path}/logs/p-0`)).toMatchObject({ kind: 'directory' });
    const table = async () => (await mounts.list(P)).map(({ mountPoint, root }) => [mountPoint, root]);
    const expected = [
      [`${P}/volume-subpaths/v/c/0`, `${path}/one/two`],
      [`${P}/volume-subpaths/v/c/1`, `${path}/logs/p-0`],
    ];
    expect(await table()).toEqual(expected);
    expect(b?.hostPath).toBe(expected[1]?.[0]);
    // A restarted container finds its mounts; a place that was exchanged is mounted anew.
    await make().mountsFor(pod, container, { POD: 'p-0' });
    expect(await table()).toEqual(expected);
    await files.rename(`${path}/one/two`, `${path}/one/old`);
    await volumes.mountsFor(pod, container, { POD: 'p-0' });
    expect((await table()).map(([target]) => target).sort()).toEqual(expected.map(([target]) => target));
    expect((await files.lstat(`${path}/one/two`))?.kind).toBe('directory');
  });

  it.each([
    [{ subPath: '/abs' }, 'must not be an absolute path'],
    [{ subPath: 'a/../../x' }, "must not contain '..'"],
    [{ subPathExpr: '$(NOPE)/x' }, 'missing value for "NOPE"'],
    [{ subPathExpr: '$(UP)/x' }, "must not contain '..'"],
  ])('refuses the subPath %j', async (given, why) => {
    const pod = podWith([{ name: 'v', emptyDir: {} }]);
    await volumes.setUp(pod);
    const container = { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/a', ...given }] };
    await expect(volumes.mountsFor(pod, container, { UP: '..' })).rejects.toThrow(why);
  });

  it('lets no other pod wait for one that hangs, and refuses more work of that one', async () => {
    const hung: Promise<never> = new Promise(() => {});
    const original = files.stat.bind(files);
    files.stat = (path: string) => (path === '/hung' ? hung : original(path));
    const stuck = podWith([{ name: 'h', hostPath: { path: '/hung', type: 'Directory' } }]);
    const first = volumes.setUp(stuck).catch((error: unknown) => error);
    const other = podWith([{ name: 'e', emptyDir: {} }]);
    other.metadata.uid = 'u2';
    await volumes.setUp(other);
    expect(await files.list(`${ROOT}/pods/u2/volumes/kubernetes.io~empty-dir`)).toEqual(['e']);
    await clock.advance(123_000);
    expect(await first).toMatchObject({ code: 'DeadlineExceeded' });
    const second = volumes.setUp(stuck).catch((error: unknown) => error);
    await clock.advance(123_000);
    expect(await second).toMatchObject({
      code: 'DeadlineExceeded',
      message: expect.stringContaining('earlier volume work'),
    });
  });

  it('asks a remote filesystem before touching it', async () => {
    hanging.add('/nfs');
    const pod = podWith([{ name: 'v', hostPath: { path: '/nfs/x', type: 'Directory' } }]);
    await expect(volumes.setUp(pod)).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    const container = { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/a', subPath: 'y' }] };
    await expect(volumes.mountsFor(pod, container, {})).rejects.toMatchObject({ code: 'DeadlineExceeded' });
  });

  it('tears down mounts and directories, also what another process left, and closes', async () => {
    objects.set('secrets/ns/s', { metadata: {}, data: { pw: '' } });
    await volumes.setUp(
      podWith([
        { name: 'm', emptyDir: { medium: 'Memory' } },
        { name: 'sec', secret: { secretName: 's' } },
      ]),
    );
    expect(await volumes.existing()).toEqual(['u1']);
    const later = make();
    await later.tearDown('u1');
    await later.tearDown('u1');
    expect(await later.existing()).toEqual([]);
    expect((await mounts.list(ROOT)).map(({ mountPoint }) => mountPoint)).toEqual([
      `${ROOT}/plugins/deckhand.io~memory`,
    ]);
    await later.close();
    expect(await mounts.list(ROOT)).toEqual([]);
    await expect(later.tearDown('../etc')).rejects.toMatchObject({ code: 'InvalidObject' });
  });

  it('removes nothing while something is still mounted', async () => {
    await volumes.setUp(podWith([{ name: 'm', emptyDir: { medium: 'Memory' } }]));
    mounts.unmount = async () => {};
    await expect(volumes.tearDown('u1')).rejects.toMatchObject({ code: 'Conflict' });
    expect(await files.list(`${P}/volumes/kubernetes.io~empty-dir`)).toEqual(['m']);
  });
});
