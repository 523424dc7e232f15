import {
  chmod,
  chown,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
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
import type { Pod, Volume, VolumeMount } from '../../../src/model/pod.ts';
import { PodFiles } from '../../../src/pods/volumes/pod-files.ts';
import { PodVolumes } from '../../../src/pods/volumes/pod-volumes.ts';
import { VolumeMetrics } from '../../../src/pods/volumes/volume-metrics.ts';

const clock = new SystemClock();
const root = process.getuid?.() === 0;

describe.skipIf(!root)('PodVolumes on this host', () => {
  const mounts = new RealMounts({}, { clock });
  const files = new RealFiles({ guard: new RemoteGuard({}, { mounts, clock }) });
  let base: string;
  let rootDirectory: string;
  let volumes: PodVolumes;
  let events: string[];
  let secrets: Record<string, Record<string, string>>;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'dhvol-')));
    rootDirectory = join(base, 'kubelet');
    await mkdir(rootDirectory, { mode: 0o750 });
    events = [];
    secrets = {};
    volumes = make();
  });

  afterEach(async () => {
    for (const uid of await volumes.existing()) await volumes.tearDown(uid);
    await volumes.close();
    const left = await mounts.list(base);
    for (const { mountPoint } of [...left].reverse()) await mounts.unmount(mountPoint, { lazy: true });
    expect(left.map(({ mountPoint }) => mountPoint)).toEqual([]);
    expect(await readdir(join(rootDirectory, 'pods')).catch(() => [])).toEqual([]);
    await rm(base, { recursive: true });
  });

  function make(): PodVolumes {
    return new PodVolumes(
      { rootDirectory },
      {
        files,
        mounts,
        clock,
        log: silent,
        events: { event: (_about, _type, reason, message) => void events.push(`${reason}: ${message}`) },
        blocks: new RealBlockDevices({ clock }),
        objects: {
          get: async <T>(_: unknown, __: string, name: string): Promise<T> => {
            const data = secrets[name];
            if (data === undefined) throw new CodedError('NotFound', `${name} not found`);
            return { metadata: { name }, data } as T;
          },
        },
        tokens: { token: async () => ({ token: 'token', renewAt: Date.now() + 1e6 }) },
        allocatable: () => ({ memory: '64Mi' }),
        metrics: new VolumeMetrics(new Metrics(), clock),
      },
    );
  }

  function podWith(list: Volume[], volumeMounts: VolumeMount[] = [], uid = 'u1'): Pod {
    const all = [...list.map(({ name }) => ({ name, mountPath: `/${name}` })), ...volumeMounts];
    return {
      metadata: { name: 'p', namespace: 'ns', uid },
      spec: { containers: [{ name: 'c', volumeMounts: all }], volumes: list },
    };
  }

  const emptyDirOf = (name: string, uid = 'u1'): string =>
    join(rootDirectory, 'pods', uid, 'volumes/kubernetes.io~empty-dir', name);

  it('limits a memory emptyDir by its size', async () => {
    const pod = podWith([{ name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '64Ki' } }]);
    pod.spec.securityContext = { fsGroup: 4242 };
    await volumes.setUp(pod);
    await make().setUp(pod);
    expect(await stat(emptyDirOf('m'))).toMatchObject({ gid: 4242 });
    expect((await stat(emptyDirOf('m'))).mode & 0o7777).toBe(0o2777);
    await expect(writeFile(join(emptyDirOf('m'), 'big'), Buffer.alloc(1 << 20))).rejects.toMatchObject({
      code: 'ENOSPC',
    });
    expect(await mounts.list(rootDirectory)).toHaveLength(1);
  });

  it('keeps secrets on a tmpfs, swaps them live, and finds them after a restart', async () => {
    secrets['s'] = { pw: Buffer.from('one').toString('base64') };
    const pod = podWith([{ name: 'sec', secret: { secretName: 's' } }]);
    await volumes.setUp(pod);
    const [mount] = await volumes.mountsFor(pod, pod.spec.containers[0] ?? { name: '' }, {});
    const path = mount?.hostPath ?? '';
    const memory = await stat(join(rootDirectory, 'plugins/deckhand.io~memory'));
    expect((await stat(path)).dev).toBe(memory.dev);
    expect((await stat(path)).dev).not.toBe((await stat(rootDirectory)).dev);
    // A reader that reads on while the contents change sees one or the other, never nothing.
    const seen = new Set<string>();
    let reading = true;
    const reader = (async () => {
      while (reading) seen.add(await readFile(join(path, 'pw'), 'utf8'));
    })();
    const later = make();
    for (let round = 0; round < 20; round++) {
      secrets['s'] = { pw: Buffer.from(`v${round % 2}`).toString('base64') };
      await later.refresh(pod);
    }
    reading = false;
    await reader;
    expect([...seen].every((text) => ['one', 'v0', 'v1'].includes(text))).toBe(true);
    expect((await readdir(path)).filter((name) => name.startsWith('..'))).toHaveLength(2);
    expect(await mounts.list(rootDirectory)).toHaveLength(1);
  });

  it('checks every hostPath type against the real thing', async () => {
    const at = (name: string): string => join(base, name);
    await mkdir(at('dir'));
    await writeFile(at('file'), 'kept');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
    const fits: [string, Volume['hostPath']][] = [
      ['dir', { path: at('dir'), type: 'Directory' }],
      ['file', { path: at('file'), type: 'File' }],
      ['file2', { path: at('file'), type: 'FileOrCreate' }],
      ['socket', { path: at('socket'), type: 'Socket' }],
      ['null', { path: '/dev/null', type: 'CharDevice' }],
      ['made', { path: at('made/deep'), type: 'DirectoryOrCreate' }],
    ];
    const list = fits.map(([name, hostPath]) => ({ name, hostPath }) as Volume);
    await volumes.setUp(podWith(list));
    server.close();
    expect((await stat(at('made/deep'))).mode & 0o777).toBe(0o755);
    expect(await readFile(at('file'), 'utf8')).toBe('kept');
    for (const [path, type] of [
      ['dir', 'Socket'],
      ['file', 'Directory'],
      ['dir', 'FileOrCreate'],
      ['file', 'BlockDevice'],
    ] as const) {
      const wrong = podWith([{ name: 'w', hostPath: { path: at(path), type } }]);
      await expect(volumes.setUp(wrong)).rejects.toThrow('hostPath type check failed');
    }
  });

  describe('subPath', () => {
    let volume: string;
    let outside: string;

    beforeEach(async () => {
      outside = join(base, 'outside');
      await mkdir(outside);
      await writeFile(join(outside, 'secret'), 'host secret');
      await volumes.setUp(podWith([{ name: 'v', emptyDir: {} }]));
      volume = emptyDirOf('v');
      await mkdir(join(volume, 'inside/deep'), { recursive: true });
      await writeFile(join(volume, 'inside/file'), 'inner');
    });

    const mountSubPath = async (subPath: string, container = 'c'): Promise<string> => {
      const pod = podWith([{ name: 'v', emptyDir: {} }]);
      const given = { name: container, volumeMounts: [{ name: 'v', mountPath: '/x', subPath }] };
      return (await volumes.mountsFor(pod, given, {}))[0]?.hostPath ?? '';
    };

    it('mounts directories, files and what it makes', async () => {
      expect(await readFile(join(await mountSubPath('inside'), 'file'), 'utf8')).toBe('inner');
      expect(await readFile(await mountSubPath('inside/file', 'c2'), 'utf8')).toBe('inner');
      const made = await mountSubPath('a/b', 'c3');
      await writeFile(join(made, 'x'), 'through');
      expect(await readFile(join(volume, 'a/b/x'), 'utf8')).toBe('through');
      expect((await stat(join(volume, 'a'))).mode & 0o7777).toBe(0o777);
      expect(await mounts.list(rootDirectory)).toHaveLength(3);
    });

    it('follows links inside the volume and mounts anew what was exchanged', async () => {
      await symlink('inside', join(volume, 'rel'));
      await symlink(join(volume, 'inside'), join(volume, 'abs'));
      expect(await readFile(join(await mountSubPath('rel'), 'file'), 'utf8')).toBe('inner');
      expect(await readFile(join(await mountSubPath('abs/file', 'c2'), ''), 'utf8')).toBe('inner');
      await rename(join(volume, 'inside'), join(volume, 'old'));
      await mkdir(join(volume, 'inside'));
      await writeFile(join(volume, 'inside/file'), 'newer');
      expect(await readFile(join(await mountSubPath('rel'), 'file'), 'utf8')).toBe('newer');
      expect(await mounts.list(rootDirectory)).toHaveLength(2);
    });

    const attacks: [string, string, () => Promise<unknown>][] = [
      ['absolute path', '/etc', async () => {}],
      ['absolute path to the volume', '/', async () => {}],
      ['dots', '..', async () => {}],
      ['dots at the end', 'inside/..', async () => {}],
      ['dots in the middle', 'inside/../../v', async () => {}],
      ['dots after a link', 'l/../x', () => symlink('inside', join(volume, 'l'))],
      ['link to /', 'l', () => symlink('/', join(volume, 'l'))],
      ['link to an outside directory', 'l', () => symlink(outside, join(volume, 'l'))],
      ['path through a link outside', 'l/secret', () => symlink(outside, join(volume, 'l'))],
      ['link to an outside file', 'l', () => symlink(join(outside, 'secret'), join(volume, 'l'))],
      ['relative link outside', 'l', () => symlink('../../../../../../outside', join(volume, 'l'))],
      ['relative link to the root', 'l/etc', () => symlink('../'.repeat(40), join(volume, 'l'))],
      ['link to /proc/self/root', 'l/etc', () => symlink('/proc/self/root', join(volume, 'l'))],
      ['link to /proc/self/cwd', 'l', () => symlink('/proc/self/cwd', join(volume, 'l'))],
      ['link to an open file', 'l', () => symlink('/proc/self/fd/0', join(volume, 'l'))],
      ['link to the volume directory’s parent', 'l', () => symlink('..', join(volume, 'l'))],
      ['link that climbs and returns', 'l', () => symlink('../v/inside', join(volume, 'l'))],
      ['absolute link whose name only starts alike', 'l', () => symlink(`${volume}x`, join(volume, 'l'))],
      ['absolute link that climbs from inside', 'l', () => symlink(`${volume}/../../..`, join(volume, 'l'))],
      ['link loop', 'l', () => symlink('l', join(volume, 'l'))],
      [
        'link ring',
        'a/x',
        async () => {
          await symlink('b', join(volume, 'a'));
          await symlink('a', join(volume, 'b'));
        },
      ],
      [
        'chain of 50 links',
        'l50',
        async () => {
          await symlink('inside', join(volume, 'l0'));
          for (let n = 1; n <= 50; n++) await symlink(`l${n - 1}`, join(volume, `l${n}`));
        },
      ],
      [
        'chain of links that leaves at the end',
        'a/b/c',
        async () => {
          await symlink('inside', join(volume, 'a'));
          await symlink('deep', join(volume, 'inside/b'));
          await symlink(outside, join(volume, 'inside/deep/c'));
        },
      ],
      ['dangling link outside', 'l', () => symlink(join(outside, 'absent'), join(volume, 'l'))],
      ['directory to be made behind a link', 'l/new/dir', () => symlink(outside, join(volume, 'l'))],
      ['dangling link that climbs', 'l', () => symlink('absent/../../..', join(volume, 'l'))],
      ['path through a file', 'inside/file/x', async () => {}],
      ['path through a device', 'null/x', () => symlink('/dev/null', join(volume, 'null'))],
      ['zero byte', 'inside\0/etc', async () => {}],
      ['too long a name', 'n'.repeat(300), async () => {}],
      ['too long a path', `${'d/'.repeat(3000)}x`, async () => {}],
    ];

    it.each(attacks)('withstands: %s', async (_, subPath, prepare) => {
      await prepare();
      const before = await readdir(outside);
      await expect(mountSubPath(subPath)).rejects.toBeInstanceOf(CodedError);
      expect(await mounts.list(rootDirectory)).toEqual([]);
      expect(await readdir(outside)).toEqual(before);
      // The long chain of directories is the volume's own and goes with it.
      await volumes.tearDown('u1');
    });

    it('never mounts the outside while a container exchanges directories and links', async () => {
      let racing = true;
      const race = (async () => {
        while (racing) {
          await rename(join(volume, 'inside'), join(volume, 'parked')).catch(() => {});
          await symlink(outside, join(volume, 'inside')).catch(() => {});
          await unlink(join(volume, 'inside')).catch(() => {});
          await rename(join(volume, 'parked'), join(volume, 'inside')).catch(() => {});
        }
      })();
      let mounted = 0;
      for (let round = 0; round < 40; round++) {
        const path = await mountSubPath('inside', `r${round}`).catch(() => undefined);
        if (path === undefined) continue;
        mounted++;
        expect(await readdir(path)).not.toContain('secret');
      }
      racing = false;
      await race;
      expect(await readdir(outside)).toEqual(['secret']);
      expect(mounted).toBeLessThanOrEqual(40);
    });
  });

  it('tears down without touching what is mounted or linked in', async () => {
    const treasure = join(base, 'treasure');
    await mkdir(join(treasure, 'gold'), { recursive: true });
    await writeFile(join(treasure, 'gold/coin'), '1');
    await volumes.setUp(podWith([{ name: 'v', emptyDir: {} }]));
    const volume = emptyDirOf('v');
    await mkdir(join(volume, 'mnt'));
    await symlink(treasure, join(volume, 'link'));
    await link(join(treasure, 'gold/coin'), join(volume, 'hard'));
    // A privileged container with Bidirectional propagation leaves mounts behind, one over the other.
    await mounts.bind(treasure, join(volume, 'mnt'));
    await mounts.tmpfs(join(volume, 'mnt/gold'), { name: 'dhvol', mode: 0o755 });
    await writeFile(join(volume, 'mnt/gold/fake'), '');
    await chmod(volume, 0);
    await chown(volume, 12345, 12345);
    await expect(files.removeTree(join(rootDirectory, 'pods/u1'))).rejects.toMatchObject({ code: 'Conflict' });
    expect(await readdir(join(volume, 'mnt/gold'))).toEqual(['fake']);
    expect(await readdir(join(treasure, 'gold'))).toEqual(['coin']);
    await volumes.tearDown('u1');
    expect(await mounts.list(rootDirectory)).toEqual([]);
    expect(await readdir(join(rootDirectory, 'pods'))).toEqual([]);
    expect(await readFile(join(treasure, 'gold/coin'), 'utf8')).toBe('1');
  });

  it('does not walk into a bind mount of the same filesystem that nobody told it of', async () => {
    const treasure = join(base, 'treasure');
    await mkdir(treasure);
    await writeFile(join(treasure, 'coin'), '1');
    await mkdir(join(base, 'tree/sub'), { recursive: true });
    await mounts.bind(treasure, join(base, 'tree/sub'));
    await expect(files.removeTree(join(base, 'tree'))).rejects.toThrow('mount point');
    await expect(files.removeTree(join(base, 'tree/sub'))).rejects.toThrow('mount point');
    expect(await readdir(treasure)).toEqual(['coin']);
    await mounts.unmount(join(base, 'tree/sub'));
    await files.removeTree(join(base, 'tree'));
  });

  it('removes trees deeper than any path or file limit', async () => {
    await volumes.setUp(podWith([{ name: 'v', emptyDir: {} }]));
    let handle = await files.openBeneath(emptyDirOf('v'), '');
    for (let depth = 0; depth < 2500; depth++) {
      const next = await files.openBeneath(handle.path, 'd', { createMode: 0o755 });
      await handle.close();
      handle = next;
    }
    await handle.close();
    await volumes.tearDown('u1');
    expect(await readdir(join(rootDirectory, 'pods'))).toEqual([]);
  });

  it('keeps a busy mount from blocking: it is detached', async () => {
    await volumes.setUp(podWith([{ name: 'm', emptyDir: { medium: 'Memory' } }]));
    const held = await files.openBeneath(emptyDirOf('m'), '');
    await volumes.tearDown('u1');
    expect(await mounts.list(rootDirectory)).toEqual([]);
    await held.close();
  });

  it('works below a root directory that is a symlink', async () => {
    await symlink(rootDirectory, join(base, 'alias'));
    const aliased = new PodVolumes(
      { rootDirectory: join(base, 'alias') },
      {
        files,
        mounts,
        clock,
        log: silent,
        events: { event: (_about, _type, reason, message) => void events.push(`${reason}: ${message}`) },
        blocks: new RealBlockDevices({ clock }),
        objects: { get: () => Promise.reject(new CodedError('NotFound', 'x')) },
        tokens: { token: async () => ({ token: 't', renewAt: 0 }) },
        allocatable: () => ({}),
        metrics: new VolumeMetrics(new Metrics(), clock),
      },
    );
    const token: Volume = { name: 't', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } };
    const pod = podWith(
      [{ name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }, token],
      [{ name: 'm', mountPath: '/sub', subPath: 'x' }],
    );
    await aliased.setUp(pod);
    await aliased.setUp(pod);
    const given = await aliased.mountsFor(pod, pod.spec.containers[0] ?? { name: '' }, {});
    expect((await stat(given[2]?.hostPath ?? '')).isDirectory()).toBe(true);
    expect(await mounts.list(rootDirectory)).toHaveLength(3);
    await aliased.tearDown('u1');
    await aliased.close();
    expect(await mounts.list(rootDirectory)).toEqual([]);
  });

  it('writes termination logs and /etc/hosts', async () => {
    const podFiles = new PodFiles({ rootDirectory }, { files });
    const pod = podWith([]);
    const paths: string[] = [];
    for (const attempt of [0, 1, 2]) paths.push(await podFiles.makeTerminationLog(pod, { name: 'c' }, attempt));
    expect((await stat(paths[2] ?? '')).mode & 0o777).toBe(0o666);
    expect(await readdir(join(rootDirectory, 'pods/u1/containers/c'))).toEqual(['1', '2']);
    await writeFile(paths[1] ?? '', `${'x'.repeat(5000)}end`);
    const message = await podFiles.terminationMessage('u1', 'c', 1);
    expect(message).toHaveLength(4096);
    expect(message.endsWith('xend')).toBe(true);
    expect(await podFiles.terminationMessage('u1', 'c', 0)).toBe('');
    const hosts = await podFiles.writeEtcHosts(pod, 'one\n');
    const before = await stat(hosts);
    await podFiles.writeEtcHosts(pod, 'one\n');
    expect((await stat(hosts)).mtimeMs).toBe(before.mtimeMs);
    await podFiles.writeEtcHosts(pod, 'two\n');
    expect((await stat(hosts)).ino).toBe(before.ino);
    expect(before.mode & 0o777).toBe(0o644);
    expect(await readFile(hosts, 'utf8')).toBe('two\n');
  });

  it('sets up and tears down 100 pods with a token and a memory volume within seconds', async () => {
    secrets['s'] = { pw: 'eA==' };
    const pods = Array.from({ length: 100 }, (_, index) =>
      podWith(
        [
          { name: 'scratch', emptyDir: {} },
          { name: 'sec', secret: { secretName: 's' } },
          { name: 'tok', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
        ],
        [],
        `u${index}`,
      ),
    );
    const t0 = performance.now();
    await Promise.all(pods.map((pod) => volumes.setUp(pod)));
    const t1 = performance.now();
    await Promise.all(pods.map((pod) => volumes.refresh(pod)));
    const t2 = performance.now();
    expect(await mounts.list(rootDirectory)).toHaveLength(1);
    await Promise.all(pods.map((pod) => volumes.tearDown(pod.metadata.uid ?? '')));
    const t3 = performance.now();
    console.log(
      `100 pods: set up ${(t1 - t0).toFixed()} ms, idle refresh ${(t2 - t1).toFixed()} ms, gone ${(t3 - t2).toFixed()} ms`,
    );
    expect(await volumes.existing()).toEqual([]);
    expect(t1 - t0).toBeLessThan(5000);
  });
});

describe.skipIf(!root)('RemoteGuard', () => {
  const mounts = new RealMounts({}, { clock });
  let base: string;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'dhvol-remote-')));
    await mkdir(join(base, 'nfs'));
    await mounts.tmpfs(join(base, 'nfs'), { name: 'dhvol', mode: 0o755 });
    await symlink(join(base, 'nfs/x'), join(base, 'link'));
  });

  afterEach(async () => {
    await mounts.unmount(join(base, 'nfs'));
    await rm(base, { recursive: true });
  });

  it('asks remote filesystems only, and answers within its deadline when one hangs', async () => {
    const isRemote = (type: string): boolean => type === 'tmpfs';
    const hung = new RemoteGuard(
      { deadlineMs: 200, isRemote, command: ['sh', '-c', 'sleep 1', 'sh'] },
      { mounts, clock },
    );
    await hung.answers(base);
    const started = performance.now();
    await expect(hung.answers(join(base, 'nfs/a/b'))).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    await expect(hung.answers(join(base, 'link/y'))).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    expect(performance.now() - started).toBeLessThan(900);
    const fine = new RemoteGuard({ deadlineMs: 5000, isRemote }, { mounts, clock });
    await fine.answers(join(base, 'nfs/absent'));
    await fine.answers(join(base, 'link'));
    const local = new RemoteGuard({ deadlineMs: 50, isRemote: () => false, command: ['false'] }, { mounts, clock });
    await local.answers(join(base, 'nfs'));
  });
});
