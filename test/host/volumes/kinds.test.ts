import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RealBlockDevices } from '../../../src/host/block/real.ts';
import { RealFiles } from '../../../src/host/files/real.ts';
import { RemoteGuard } from '../../../src/host/files/remote-guard.ts';
import { RealMounts } from '../../../src/host/mount/real.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { silent } from '../../../src/kit/log.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import type { PersistentVolume } from '../../../src/model/objects.ts';
import type { Pod, PodSecurityContext, PodSpec, Volume } from '../../../src/model/pod.ts';
import { ClaimResolver } from '../../../src/pods/volumes/claims.ts';
import { PodVolumes } from '../../../src/pods/volumes/pod-volumes.ts';
import { VolumeMetrics } from '../../../src/pods/volumes/volume-metrics.ts';
import { runCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { SilentFuse } from '../node/support/silent-fuse.ts';

const clock = new SystemClock();
/** mount(8) looks for helper programs here after /sbin, where an administrator's own may be. */
const HELPERS = '/sbin/fs';

describe.skipIf(process.getuid?.() !== 0)('kinds of volumes on this host', () => {
  const mounts = new RealMounts({}, { clock });
  const blocks = new RealBlockDevices({ clock });
  let base: string;
  let root: string;
  let volumes: PodVolumes;
  let events: string[];
  let persistent: Record<string, PersistentVolume['spec']>;
  let undo: (() => Promise<unknown>)[];

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'dhvol-kinds-')));
    root = join(base, 'kubelet');
    await mkdir(root, { mode: 0o750 });
    events = [];
    persistent = {};
    undo = [];
    volumes = make();
  });

  afterEach(async () => {
    for (const uid of await volumes.existing()) await volumes.tearDown(uid);
    await volumes.close();
    for (const step of undo.reverse()) await step();
    const left = (await mounts.list(base)).map(({ mountPoint }) => mountPoint);
    for (const mountPoint of [...left].reverse()) await mounts.unmount(mountPoint, { lazy: true });
    expect(left).toEqual([]);
    const loops = await runCommand(['losetup', '-a']);
    expect(loops).not.toContain(base);
    await rm(base, { recursive: true });
  });

  /** As after a restart: nothing is remembered. */
  function make({ serverMountMs, ...guard }: { deadlineMs?: number; serverMountMs?: number } = {}): PodVolumes {
    const api = {
      get: async <T>({ plural }: { plural: string }, { name = '' }: { name?: string | undefined }): Promise<T> => {
        if (persistent[name] === undefined) throw new CodedError('NotFound', `${plural} "${name}" not found`);
        const found =
          plural === 'persistentvolumes'
            ? { metadata: { name }, spec: { ...persistent[name], claimRef: { uid: name } } }
            : {
                metadata: { name, namespace: 'ns', uid: name },
                spec: { volumeName: name },
                status: { phase: 'Bound' },
              };
        return found as T;
      },
    };
    return new PodVolumes(
      { rootDirectory: root, ...(serverMountMs === undefined ? {} : { serverMountMs }) },
      {
        files: new RealFiles({ guard: new RemoteGuard(guard, { mounts, clock }) }),
        mounts,
        blocks,
        clock,
        log: silent,
        events: { event: (_about, _type, reason, message) => void events.push(`${reason}: ${message}`) },
        objects: { get: () => Promise.reject(new CodedError('NotFound', 'x')) },
        tokens: { token: async () => ({ token: 'token', renewAt: 0 }) },
        allocatable: () => ({ memory: '64Mi' }),
        metrics: new VolumeMetrics(new Metrics(), clock),
        claims: new ClaimResolver({ api, node: () => ({ metadata: { name: 'n' } }) }),
      },
    );
  }

  function podOf(
    uid: string,
    volume: Volume,
    securityContext: PodSecurityContext = {},
    more: Partial<PodSpec> = {},
  ): Pod {
    const isBlock = persistent[volume.persistentVolumeClaim?.claimName ?? '']?.volumeMode === 'Block';
    const use = isBlock
      ? { volumeDevices: [{ name: volume.name, devicePath: '/dev/disk' }] }
      : { volumeMounts: [{ name: volume.name, mountPath: '/v' }] };
    return {
      metadata: { name: `pod-${uid}`, namespace: 'ns', uid },
      spec: { containers: [{ name: 'c', ...use }], volumes: [volume], securityContext, ...more },
    };
  }

  const claimOf = (claimName: string, readOnly = false): Volume => ({
    name: 'data',
    persistentVolumeClaim: { claimName, readOnly },
  });
  const mountsOf = async (pod: Pod, from = volumes) => from.mountsFor(pod, pod.spec.containers[0] ?? { name: '' }, {});
  const pathIn = async (pod: Pod): Promise<string> => (await mountsOf(pod))[0]?.hostPath ?? '';

  async function diskOf(name: string): Promise<string> {
    const image = join(base, name);
    await writeFile(image, '');
    await truncate(image, 24 << 20);
    const device = await blocks.attachLoop(image);
    undo.push(() => blocks.detachLoop(device));
    return device;
  }

  it('local directory: one bind mount per pod, shared, read-only where asked, kept over a restart', async () => {
    const directory = join(base, 'data');
    await mkdir(directory);
    await writeFile(join(directory, 'seed'), 'seed');
    persistent['pv'] = { local: { path: directory } };
    const [one, two] = [podOf('u1', claimOf('pv')), podOf('u2', claimOf('pv', true))];
    await Promise.all([volumes.setUp(one), volumes.setUp(two)]);
    expect(await pathIn(one)).toBe(`${root}/pods/u1/volumes/kubernetes.io~local-volume/pv`);
    await writeFile(join(await pathIn(one), 'shared'), 'x');
    expect(await readdir(await pathIn(two))).toEqual(['seed', 'shared']);
    expect((await mountsOf(two))[0]?.readonly).toBe(true);
    await expect(writeFile(join(await pathIn(two), 'y'), '')).rejects.toMatchObject({ code: 'EROFS' });
    const later = make();
    await later.setUp(one);
    expect(await mounts.list(root)).toHaveLength(2);
    await later.tearDown('u1');
    expect(await readdir(directory)).toEqual(['seed', 'shared']);
    expect(await mounts.list(root)).toHaveLength(1);
  });

  it('local paths that are no volume are refused', async () => {
    await writeFile(join(base, 'file'), '');
    for (const [path, why] of [
      [join(base, 'no'), 'does not exist'],
      [join(base, 'file'), 'only directory and block device are supported'],
      [`${base}/a/../b`, "must not contain '..'"],
    ] as const) {
      persistent['pv'] = { local: { path } };
      const error = await volumes.setUp(podOf('u1', claimOf('pv'))).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ reason: 'FailedMount' });
      expect((error as Error).message).toContain('MountVolume.SetUp failed for volume "pv" : ');
      expect((error as Error).message).toContain(why);
    }
  });

  it('local disk: formatted once, mounted once for all its pods, and never formatted again', async () => {
    const device = await diskOf('disk');
    persistent['pv'] = { local: { path: device, fsType: 'ext4' }, mountOptions: ['noatime'] };
    const [one, two] = [podOf('u1', claimOf('pv')), podOf('u2', claimOf('pv'))];
    await Promise.all([volumes.setUp(one), volumes.setUp(two)]);
    const global = `${root}/plugins/kubernetes.io/local-volume/mounts/pv`;
    expect(await mounts.list(global)).toMatchObject([{ type: 'ext4', source: device }]);
    expect((await mounts.list(global))[0]?.options).toContain('noatime');
    await writeFile(join(await pathIn(one), 'kept'), 'x');
    expect(await readdir(await pathIn(two))).toContain('kept');
    await volumes.tearDown('u1');
    expect(await mounts.list(global)).toHaveLength(1);
    await make().tearDown('u2');
    expect(await mounts.list(root)).toEqual([]);
    expect(existsSync(global)).toBe(false);
    await volumes.setUp(one);
    expect(await readFile(join(await pathIn(one), 'kept'), 'utf8')).toBe('x');
    // The wrong type is said, and the disk stays as it is.
    await volumes.tearDown('u1');
    persistent['pv'] = { local: { path: device, fsType: 'xfs' } };
    await expect(volumes.setUp(one)).rejects.toThrow(
      'MountVolume.SetUp failed for volume "pv" : mount failed: exit status 32\nMounting command: mount\n',
    );
    expect(events.join()).toContain(
      'FailedMountOnFilesystemMismatch: MountVolume failed for volume "pv" mount failed: ',
    );
    expect(await blocks.contents(device)).toBe('ext4');
  });

  it('an empty disk is not formatted for reading, and one with partitions never', async () => {
    const device = await diskOf('disk');
    persistent['pv'] = { local: { path: device } };
    await expect(volumes.setUp(podOf('u1', claimOf('pv', true)))).rejects.toThrow('cannot mount unformatted disk');
    expect(await blocks.contents(device)).toBeUndefined();
    // An MBR: its signature, and one entry of a Linux partition.
    const mbr = Buffer.alloc(512);
    mbr.set([0x00, 0x02, 0x03, 0x00, 0x83, 0x20, 0x20, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00], 446);
    mbr.set([0x55, 0xaa], 510);
    await writeFile(device, mbr, { flag: 'r+' });
    await expect(volumes.setUp(podOf('u1', claimOf('pv')))).rejects.toThrow(
      'MountVolume.SetUp failed for volume "pv" : mount failed: exit status 32',
    );
    expect(await blocks.contents(device)).toBe('unknown data, probably partitions');
  });

  it('block volume: the device for its container, held open by a loop device, given back after a restart', async () => {
    const device = await diskOf('disk');
    persistent['pv'] = { local: { path: device }, volumeMode: 'Block' };
    const pod = podOf('u1', claimOf('pv', true));
    await volumes.setUp(pod);
    await make().setUp(pod);
    const link = `${root}/pods/u1/volumeDevices/kubernetes.io~local-volume/pv`;
    expect(await readlink(link)).toBe(device);
    expect(await volumes.devicesFor(pod, pod.spec.containers[0] ?? { name: '' })).toEqual([
      { hostPath: link, containerPath: '/dev/disk', permissions: 'r' },
    ]);
    const bound = `${root}/plugins/kubernetes.io~local-volume/volumeDevices/pv/u1`;
    expect((await stat(bound)).isBlockDevice()).toBe(true);
    // Told once, although it was set up twice.
    const said = 'SuccessfulMountVolume: MapVolume.MapPodDevice succeeded for volume "pv"';
    expect(events).toEqual([
      `${said} globalMapPath "${root}/plugins/kubernetes.io~local-volume/volumeDevices/pv"`,
      `${said} volumeMapPath "${root}/pods/u1/volumeDevices/kubernetes.io~local-volume"`,
    ]);
    const loop = await blocks.loopOf(bound);
    expect(loop).toMatch(/^\/dev\/loop\d+$/);
    await make().tearDown('u1');
    expect(await blocks.loopOf(bound)).toBeUndefined();
    expect(await mounts.list(root)).toEqual([]);
    expect(existsSync(`${root}/plugins/kubernetes.io~local-volume/volumeDevices/pv`)).toBe(false);
    persistent['pv'] = { local: { path: base }, volumeMode: 'Block' };
    const error = await volumes.setUp(pod).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason: 'FailedMapVolume' });
    expect((error as Error).message).toContain('MapVolume.MapPodDevice failed for volume "pv" : ');
  });

  it('fsGroup: all of a volume, or none of it when its root fits, and nothing that links lead to', async () => {
    const directory = join(base, 'data');
    const outside = join(base, 'outside');
    await mkdir(join(directory, 'deep'), { recursive: true });
    await writeFile(join(directory, 'deep/file'), '', { mode: 0o600 });
    await writeFile(outside, '', { mode: 0o600 });
    await symlink(outside, join(directory, 'link'));
    persistent['pv'] = { local: { path: directory } };
    const group = (fsGroup: number, policy?: 'OnRootMismatch' | 'Always') => ({
      fsGroup,
      ...(policy === undefined ? {} : { fsGroupChangePolicy: policy }),
    });
    const modeOf = async (path: string) => (await stat(join(directory, path))).mode & 0o7777;
    await volumes.setUp(podOf('u1', claimOf('pv'), group(4000)));
    expect(await stat(join(directory, 'deep/file'))).toMatchObject({ gid: 4000 });
    expect([await modeOf(''), await modeOf('deep'), await modeOf('deep/file')]).toEqual([0o2775, 0o2775, 0o660]);
    expect(await stat(outside)).toMatchObject({ gid: 0 });
    expect((await stat(outside)).mode & 0o777).toBe(0o600);
    expect(await lstat(join(directory, 'link'))).toMatchObject({ gid: 4000 });
    // Another pod that wants another group is told, and changes nothing while the first has the volume.
    await volumes.setUp(podOf('u2', claimOf('pv'), group(5000)));
    expect(events).toEqual([
      'AlreadyMountedVolume: The requested fsGroup is 5000, but the volume pv has GID 4000. The volume may not be shareable.',
    ]);
    expect(await stat(directory)).toMatchObject({ gid: 4000 });
    await volumes.tearDown('u1');
    await volumes.tearDown('u2');
    await chown(join(directory, 'deep/file'), 0, 0);
    await volumes.setUp(podOf('u3', claimOf('pv'), group(4000, 'OnRootMismatch')));
    expect(await stat(join(directory, 'deep/file'))).toMatchObject({ gid: 0 });
    await volumes.tearDown('u3');
    await chmod(directory, 0o755);
    await volumes.setUp(podOf('u4', claimOf('pv'), group(4000, 'OnRootMismatch')));
    expect(await stat(join(directory, 'deep/file'))).toMatchObject({ gid: 4000 });
  });

  it('a volume for one pod only is for one pod only', async () => {
    persistent['pv'] = { hostPath: { path: base }, accessModes: ['ReadWriteOncePod'] };
    await volumes.setUp(podOf('u1', claimOf('pv')));
    await volumes.setUp(podOf('u1', claimOf('pv')));
    await expect(volumes.setUp(podOf('u2', claimOf('pv')))).rejects.toThrow(
      'MountVolume.SetUp failed for volume "pv" : volume uses the ReadWriteOncePod access mode and is already in use by another pod',
    );
    await volumes.tearDown('u1');
    await volumes.setUp(podOf('u2', claimOf('pv')));
  });

  it('huge pages: a hugetlbfs of the size that the pod requests', async () => {
    const pages = (...sizes: string[]): Partial<PodSpec> => ({
      containers: [
        {
          name: 'c',
          volumeMounts: [{ name: 'h', mountPath: '/h' }],
          resources: { requests: Object.fromEntries(sizes.map((size) => [`hugepages-${size}`, size])) },
        },
      ],
    });
    const volumeOf = (medium: string): Volume => ({ name: 'h', emptyDir: { medium } });
    const pod = podOf('u1', volumeOf('HugePages'), { fsGroup: 4000 }, pages('2Mi'));
    await volumes.setUp(pod);
    await make().setUp(pod);
    const [entry, ...more] = await mounts.list(root);
    expect(more).toEqual([]);
    expect(entry).toMatchObject({ type: 'hugetlbfs', mountPoint: await pathIn(pod) });
    expect(entry?.superOptions).toContain('pagesize=2M');
    expect(await stat(await pathIn(pod))).toMatchObject({ gid: 4000 });
    await volumes.setUp(podOf('u2', volumeOf('HugePages-1Gi'), {}, pages('2Mi', '1Gi')));
    expect((await mounts.list(`${root}/pods/u2`))[0]?.superOptions).toContain('pagesize=1024M');
    await expect(volumes.setUp(podOf('u3', volumeOf('HugePages'), {}, pages('2Mi', '1Gi')))).rejects.toThrow(
      "medium: HugePages can't be used if container requests multiple huge page sizes",
    );
    await expect(volumes.setUp(podOf('u4', volumeOf('HugePages-1Gi'), {}, pages('2Mi')))).rejects.toThrow(
      'there is no resource request for huge pages',
    );
  });

  describe('nfs', () => {
    const source = { server: '192.0.2.9', path: '/export', readOnly: true };

    it('says what mount(8) says where nothing can mount it, and leaves nothing', async () => {
      const error = await volumes.setUp(podOf('u1', { name: 'n', nfs: source })).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ reason: 'FailedMount' });
      const target = `${root}/pods/u1/volumes/kubernetes.io~nfs/n`;
      expect((error as Error).message).toContain(
        `MountVolume.SetUp failed for volume "n" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs -o ro 192.0.2.9:/export ${target}\nOutput: mount: `,
      );
      expect(existsSync(target)).toBe(false);
    });

    /** Stands where nfs-common puts mount.nfs; this kernel has no NFS. It gets what mount(8) gives such programs. */
    async function helper(script: string): Promise<void> {
      const made = !existsSync(HELPERS);
      await mkdir(HELPERS, { recursive: true });
      await writeFile(`${HELPERS}/mount.nfs`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      undo.push(async () => {
        await rm(`${HELPERS}/mount.nfs`);
        if (made) await rm(HELPERS, { recursive: true });
      });
    }

    it.skipIf(existsSync('/sbin/mount.nfs'))('mounts by the helper program, once, with its options', async () => {
      await mkdir(join(base, 'export'));
      await writeFile(join(base, 'export/file'), 'served');
      await helper(`echo "$@" >> ${base}/calls; mount -i -n --bind ${base}/export "$2"`);
      persistent['pv'] = { nfs: { server: 'fd00::9', path: '/export' }, mountOptions: ['vers=4.2', 'hard'] };
      const [own, bound] = [podOf('u1', { name: 'n', nfs: source }), podOf('u2', claimOf('pv'))];
      for (const pod of [own, bound]) await volumes.setUp(pod);
      for (const pod of [own, bound]) await make().setUp(pod);
      expect(await readFile(join(await pathIn(own), 'file'), 'utf8')).toBe('served');
      expect((await mountsOf(own))[0]?.readonly).toBe(true);
      const calls = (await readFile(join(base, 'calls'), 'utf8')).trim().split('\n');
      expect(calls).toHaveLength(2);
      expect(calls[0]).toMatch(/^192\.0\.2\.9:\/export \S+\/kubernetes\.io~nfs\/n .*-o ro/);
      expect(calls[1]).toMatch(/^\[fd00::9\]:\/export \S+\/kubernetes\.io~nfs\/pv .*-o rw,vers=4\.2,hard/);
      await volumes.tearDown('u1');
      expect(await readdir(join(base, 'export'))).toEqual(['file']);
    });

    it.skipIf(existsSync('/sbin/mount.nfs'))('a server that does not answer costs its own pod only', async () => {
      await helper(`echo $$ >> ${base}/pids; exec sleep 1000`);
      const hasty = make({ serverMountMs: 1000 });
      const hung = hasty.setUp(podOf('u1', { name: 'n', nfs: source })).catch((thrown: unknown) => thrown);
      await waitFor('the helper', () => existsSync(join(base, 'pids')), { timeoutMs: 5000 });
      for (let n = 0; n < 10; n++) await hasty.setUp(podOf('u2', { name: 'e', emptyDir: {} }));
      expect(await hung).toMatchObject({ reason: 'FailedMount', code: 'DeadlineExceeded' });
      // The helper is ended, not only the mount(8) that started it (who may be left for init to reap).
      const [pid] = (await readFile(join(base, 'pids'), 'utf8')).trim().split('\n');
      const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => 'gone');
      expect(state).toMatch(/^gone$|\) Z /);
      expect(await readdir(`${root}/pods/u2/volumes/kubernetes.io~empty-dir`)).toEqual(['e']);
    });
  });

  it('a filesystem that hangs costs its own pod only', async () => {
    const silentFuse = await SilentFuse.mount(join(base, 'fuse'));
    const hasty = make({ deadlineMs: 500 });
    persistent['hung'] = { local: { path: join(base, 'fuse') } };
    persistent['fine'] = { local: { path: root } };
    const hung = Array.from({ length: 8 }, (_, n) =>
      hasty.setUp(podOf(`h${n}`, claimOf('hung'), { fsGroup: 1 })).catch((thrown: unknown) => thrown),
    );
    const before = performance.now();
    await hasty.setUp(podOf('u2', claimOf('fine')));
    expect(performance.now() - before).toBeLessThan(400);
    for (const error of await Promise.all(hung)) {
      expect(error).toMatchObject({ reason: 'FailedMount' });
      expect((error as Error).message).toContain('does not answer');
    }
    await hasty.tearDown('h0');
    await silentFuse.close();
  });

  it('volumes of pods that vanished are taken down by what is on disk', async () => {
    const device = await diskOf('disk');
    persistent['disk'] = { local: { path: device } };
    persistent['raw'] = { local: { path: await diskOf('raw') }, volumeMode: 'Block' };
    await volumes.setUp(podOf('u1', claimOf('disk')));
    await volumes.setUp(podOf('u2', claimOf('raw')));
    await volumes.setUp(podOf('u3', { name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }));
    persistent = {};
    const later = make();
    expect((await later.existing()).sort()).toEqual(['u1', 'u2', 'u3']);
    for (const uid of await later.existing()) await later.tearDown(uid);
    expect(await mounts.list(base)).toEqual([]);
    expect(await blocks.contents(device)).toBe('ext4');
  });
});
