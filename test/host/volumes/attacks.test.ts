import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { KubeObject } from '../../../src/model/meta.ts';
import type { ConfigMap } from '../../../src/model/objects.ts';
import type { Container, Pod, Volume, VolumeMount } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerStatus } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods, refusal } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-attacks';
vi.setConfig({ maxConcurrency: 40, testTimeout: 90_000, hookTimeout: 90_000 });

/** Everything of a tree: paths, kinds, modes, owners, times and contents. */
function fingerprint(directory: string): string {
  const hash = createHash('sha256');
  const walk = (path: string): void => {
    const info = lstatSync(path);
    hash.update(`${path} ${info.mode} ${info.uid} ${info.gid} ${info.mtimeMs} ${info.nlink}\n`);
    if (info.isSymbolicLink()) hash.update(readlinkSync(path));
    else if (info.isFile()) hash.update(readFileSync(path));
    else if (info.isDirectory()) for (const name of readdirSync(path).sort()) walk(`${path}/${name}`);
  };
  walk(directory);
  return hash.digest('hex');
}

describe('attacks by paths and links on a real node', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let root: string;
  /** What no pod may touch, and a word in it that none may read. */
  let treasure: string;
  let before: string;
  const SECRET = 'pirate-gold';

  beforeAll(async () => {
    node = await startNode(NAME, {
      deckhand: {
        args: [
          '--pod-manifest-path',
          `/var/lib/${NAME}/static`,
          '--file-check-frequency',
          '1s',
          '--sync-frequency',
          '5s',
        ],
      },
      beforeDeckhand: (run) => void mkdirSync(`${run.paths.libDir}/static`, { recursive: true }),
    });
    pods = new NodePods(node);
    root = `${node.run.paths.libDir}/kubelet`;
    treasure = `${node.run.paths.libDir}/treasure`;
    mkdirSync(`${treasure}/chest`, { recursive: true });
    // A line that a log reader would take for a container's.
    writeFileSync(`${treasure}/secret`, `2026-01-01T00:00:00.000000000Z stdout F ${SECRET}\n`, { mode: 0o600 });
    before = fingerprint(treasure);
  });

  afterAll(async () => {
    const all = await node.deckhand.api.list<Pod>(resources.pods, 'default');
    for (const { metadata } of all) await pods.delete(metadata.name ?? '', 0).catch(() => {});
    await waitFor('the pods’ directories to be gone', () => pods.podDirectories().length === 0);
    const after = fingerprint(treasure);
    const status = node.deckhand.alive;
    await node?.close();
    expect(after).toBe(before);
    expect(status).toBe(true);
    expect(await leaksOf(NAME)).toEqual([]);
  });

  // ── a volume's contents against subPath ──────────────────────────────────────────────────────────────────

  const REFUSED = 'failed to prepare subPath for volumeMount "data" of container';
  /** Name, subPath, what a container of the pod plants in the volume ($T is the treasure), what the pod is told. */
  const subPaths: [string, Partial<VolumeMount>, string, string][] = [
    ['link-to-root', { subPath: 'l1/etc' }, 'ln -s / l1', REFUSED],
    ['link-to-directory', { subPath: 'l2' }, 'ln -s $T l2', REFUSED],
    ['link-to-file', { subPath: 'l3' }, 'ln -s $T/secret l3', REFUSED],
    ['path-through-link', { subPath: 'l4/secret' }, 'ln -s $T l4', REFUSED],
    ['made-behind-link', { subPath: 'l5/new/dir' }, 'ln -s $T l5', REFUSED],
    ['dangling-link', { subPath: 'l6' }, 'ln -s $T/absent l6', REFUSED],
    ['climbing-link', { subPath: 'l7' }, 'ln -s ../../../../../../treasure l7', REFUSED],
    ['link-by-proc', { subPath: 'l8/etc' }, 'ln -s /proc/1/root l8', REFUSED],
    ['link-by-own-proc', { subPath: 'l9' }, 'ln -s /proc/self/cwd l9', REFUSED],
    ['link-to-itself', { subPath: 'l10' }, 'ln -s l10 l10', REFUSED],
    ['leaves-and-returns', { subPath: 'l11' }, 'ln -s ../data/inside l11', REFUSED],
    [
      'last-of-three-links',
      { subPath: 'a/b/c' },
      'ln -s inside a; ln -s deep inside/b; ln -s $T inside/deep/c',
      REFUSED,
    ],
    ['through-a-file', { subPath: 'inside/file/x' }, ':', REFUSED],
    [
      'dots-by-variable',
      { subPathExpr: '$(UP)/x' },
      ':',
      "unable to provision SubPath `../../x`: must not contain '..'",
    ],
    [
      'root-by-variable',
      { subPathExpr: '$(ETC)' },
      ':',
      'unable to provision SubPath `/etc`: must not be an absolute path',
    ],
  ];

  it.concurrent('subPaths that lead out of their volume start no container, and a good one beside them runs', async () => {
    const env = [
      { name: 'UP', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['up']" } } },
      { name: 'ETC', value: '/etc' },
    ];

    const plant = `cd /v; mkdir -p inside/deep; echo x > inside/file; ${subPaths.map(([, , script]) => script).join('; ')}`;
    const containers = subPaths.map(([name, mount]) =>
      sh(STAY, { name, env, volumeMounts: [{ name: 'data', mountPath: '/x', ...mount }] }),
    );
    const fine = sh(`cat /x; ${STAY}`, {
      name: 'fine',
      volumeMounts: [{ name: 'data', mountPath: '/x', subPath: 'inside/file' }],
    });
    const planter = sh(plant.replaceAll('$T', treasure), {
      name: 'planter',
      volumeMounts: [{ name: 'data', mountPath: '/v' }],
    });
    await pods.create(
      podOf(
        'subpaths',
        [...containers, fine],
        { initContainers: [planter], volumes: [{ name: 'data', emptyDir: {} }] },
        { annotations: { up: '../..' } },
      ),
    );
    const pod = await pods.until('subpaths', 'be told of all', (found) => {
      const told = subPaths.every(([name]) => containerStatus(found, name)?.state?.waiting?.message !== undefined);
      return told && containerStatus(found, 'fine')?.state?.running !== undefined && found;
    });
    for (const [name, , , why] of subPaths) {
      const waiting = containerStatus(pod, name)?.state?.waiting;
      expect([name, waiting?.reason]).toEqual([name, 'CreateContainerConfigError']);
      expect(waiting?.message).toContain(why);
      // What is outside is not told of either.
      expect(waiting?.message).not.toContain(treasure);
    }
    expect(fingerprint(treasure)).toBe(before);
    await pods.delete('subpaths', 0);
    await pods.gone('subpaths');
    await waitFor('its directory to be gone', () => !existsSync(`${root}/pods/${pod.metadata.uid}`));
    expect(fingerprint(treasure)).toBe(before);
  });

  // ── what the API does not take ──────────────────────────────────────────────────────────────────────────

  const withVolume = (volume: object, mount: object = {}): Pod =>
    podOf('refused', sh(STAY, { volumeMounts: [{ name: 'data', mountPath: '/v', ...mount } as VolumeMount] }), {
      volumes: [{ name: 'data', ...volume } as Volume],
    });
  const items = (path: string) => [{ key: 'k', path }];
  const bad: [string, KubeObject, string][] = [
    ['dots in subPathExpr', withVolume({ emptyDir: {} }, { subPathExpr: '$(NAME)/../../x' }), 'subPathExpr'],
    ['dots in subPath', withVolume({ emptyDir: {} }, { subPath: 'a/../../x' }), 'subPath'],
    ['absolute subPath', withVolume({ emptyDir: {} }, { subPath: '/etc' }), 'subPath'],
    ['dots in a configMap item', withVolume({ configMap: { name: 'm', items: items('../../x') } }), 'items[0].path'],
    ['absolute configMap item', withVolume({ configMap: { name: 'm', items: items('/etc/x') } }), 'items[0].path'],
    ['configMap item over ..data', withVolume({ configMap: { name: 'm', items: items('..data/x') } }), 'items[0].path'],
    ['dots in a secret item', withVolume({ secret: { secretName: 'm', items: items('a/../../x') } }), 'items[0].path'],
    [
      'dots in a downward item',
      withVolume({ downwardAPI: { items: [{ path: '../x', fieldRef: { fieldPath: 'metadata.name' } }] } }),
      'path',
    ],
    [
      'dots in a projected item',
      withVolume({ projected: { sources: [{ configMap: { name: 'm', items: items('../../../x') } }] } }),
      'path',
    ],
    [
      'dots in a token’s path',
      withVolume({ projected: { sources: [{ serviceAccountToken: { path: '../token' } }] } }),
      'path',
    ],
    ['dots in a hostPath', withVolume({ hostPath: { path: '/var/../etc' } }), 'hostPath.path'],
    ['dots as a volume’s name', podOf('refused', sh(STAY), { volumes: [{ name: '../x', emptyDir: {} }] }), 'name'],
    ['dots as a container’s name', podOf('refused', sh(STAY, { name: '../../x' })), 'name'],
    [
      'dots as a ConfigMap’s key',
      { metadata: { name: 'm', namespace: 'default' }, data: { '../x': '' } } as ConfigMap,
      'data',
    ],
    [
      '.. as a ConfigMap’s key',
      { metadata: { name: 'm', namespace: 'default' }, data: { '..': '' } } as ConfigMap,
      'data',
    ],
  ];

  it.concurrent.each(bad)('the API refuses %s', async (_, object, field) => {
    const type = 'spec' in object ? resources.pods : resources.configmaps;
    const failure = await refusal(node.deckhand.api.create(type, object));
    expect(failure.status).toBe(422);
    expect(failure.message).toContain(field);
  });

  // ── volume files ──────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('a file and a directory of one name are refused by name', async () => {
    await node.deckhand.api.create<ConfigMap>(resources.configmaps, {
      metadata: { name: 'both', namespace: 'default' },
      data: { k: 'v' },
    });
    const sources = [
      { configMap: { name: 'both', items: items('a') } },
      { downwardAPI: { items: [{ path: 'a/b', fieldRef: { fieldPath: 'metadata.name' } }] } },
    ];
    await pods.create({ ...withVolume({ projected: { sources } }), metadata: { name: 'both', namespace: 'default' } });
    const { message } = await pods.untilEvent('both', 'FailedMount');
    expect(message).toContain('conflicting path "a/b": it needs a directory where a is a file');
    await pods.delete('both', 0);
  });

  it.concurrent('links in place of a volume’s own files are written over, not through', async () => {
    await node.deckhand.api.create<ConfigMap>(resources.configmaps, {
      metadata: { name: 'live', namespace: 'default' },
      data: { one: 'first', two: 'second' },
    });
    const container = sh(STAY, { volumeMounts: [{ name: 'data', mountPath: '/v' }] });
    await pods.create(podOf('live', container, { volumes: [{ name: 'data', configMap: { name: 'live' } }] }));
    const pod = await pods.ready('live');
    const volume = `${root}/pods/${pod.metadata.uid}/volumes/kubernetes.io~configmap/data`;
    // As a pod with a hostPath there could.
    const swap = (name: string, target: string): void => {
      symlinkSync(target, `${volume}/.swap`);
      renameSync(`${volume}/.swap`, `${volume}/${name}`);
    };
    swap('..data', treasure);
    swap('one', `${treasure}/secret`);
    swap('..evil', treasure);
    swap('..2026_evil', `${treasure}/chest`);
    swap('..data_tmp', treasure);
    await node.deckhand.api.mergePatch(resources.configmaps, 'default', 'live', {
      data: { one: 'changed', two: null },
    });
    const data = await waitFor('the volume to be whole again', () => {
      const link = readlinkSync(`${volume}/..data`);
      return !link.startsWith('/') && readFileSync(`${volume}/..data/one`, 'utf8') === 'changed' && link;
    });
    await waitFor(
      'what does not belong there to be gone',
      () => readdirSync(volume).sort().join() === [data, '..data', 'one'].sort().join(),
    );
    expect(fingerprint(treasure)).toBe(before);
    await pods.delete('live', 0);
  });

  // ── termination log and logs ──────────────────────────────────────────────────────────────────────────────────────

  /** A container that can change what is in a directory of the node, and then fails. */
  const meddler = (name: string, directory: string, script: string, more: Partial<Container> = {}): Pod =>
    podOf(
      name,
      sh(`cd /node && ${script.replaceAll('$T', treasure)}; exit 7`, {
        env: [{ name: 'UID', valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } }],
        volumeMounts: [{ name: 'node', mountPath: '/node', subPathExpr: directory }],
        ...more,
      }),
      { restartPolicy: 'Never', volumes: [{ name: 'node', hostPath: { path: node.run.paths.libDir } }] },
    );
  const ended = async (name: string) => {
    const pod = await pods.phase(name, 'Failed');
    const { message = '', exitCode } = containerStatus(pod, 'main')?.state?.terminated ?? {};
    return { pod, message, exitCode };
  };
  const own = 'kubelet/pods/$(UID)/containers/main';
  const logs = (name: string): string => `logs/default_${name}_$(UID)/main`;
  const fallback = { terminationMessagePolicy: 'FallbackToLogsOnError' } as const;

  it.concurrent.each<[string, string, string, Partial<Container>]>([
    ['term-link', own, 'rm -f 0; ln -s $T/secret 0', {}],
    ['term-link-fallback', own, 'rm -f 0; ln -s $T/secret 0', fallback],
    ['term-fifo', own, 'rm -f 0; mkfifo 0', {}],
    ['term-directory', own, 'rm -f 0; mkdir 0', {}],
    ['term-device', own, 'rm -f 0; mknod 0 c 1 5', {}],
    ['log-link', logs('log-link'), 'rm -f 0.log; ln -s $T/secret 0.log', fallback],
    ['log-fifo', logs('log-fifo'), 'rm -f 0.log; mkfifo 0.log', fallback],
    ['log-device', logs('log-device'), 'rm -f 0.log; mknod 0.log c 1 5', fallback],
  ])('%s: the last words are none, and the pod ends as it should', async (name, directory, script, more) => {
    await pods.create(meddler(name, directory, script, more));
    const { pod, message, exitCode } = await ended(name);
    expect(exitCode).toBe(7);
    expect(message).not.toContain(SECRET);
    expect(message.replaceAll('\0', '')).toBe('');
    await pods.delete(name, 0);
    await pods.gone(name);
    await waitFor('its files to be gone', () => !existsSync(`${root}/pods/${pod.metadata.uid}`));
    expect(fingerprint(treasure)).toBe(before);
  });

  it.concurrent.each<[string, string, string]>([
    ['path-link', '/v/term', 'ln -s $T/secret /v/term'],
    ['path-climb', '/../../../../../../term', ':'],
    ['path-proc', '/v/out', 'ln -s /proc/self/root/etc/hosts /v/out'],
  ])('%s as terminationMessagePath stays in the container', async (name, terminationMessagePath, script) => {
    const volumeMounts = [{ name: 'data', mountPath: '/v' }];
    const planter = sh(script.replaceAll('$T', treasure), { name: 'planter', volumeMounts });
    const main = sh(`echo said > ${terminationMessagePath}; exit 7`, { volumeMounts, terminationMessagePath });
    const volumes: Volume[] = [{ name: 'data', emptyDir: {} }];
    await pods.create(podOf(name, main, { initContainers: [planter], volumes, restartPolicy: 'Never' }));
    // Either it runs, or the runtime refuses the mount; the message is never another file's.
    const { message } = await ended(name);
    expect(message).not.toContain(SECRET);
    expect(fingerprint(treasure)).toBe(before);
    await pods.delete(name, 0);
  });

  it.concurrent('the last words are cut, whatever a container writes', async () => {
    const main = sh('head -c 3000000 /dev/zero | tr "\\0" x > /dev/termination-log; exit 7');
    await pods.create(podOf('chatty', main, { restartPolicy: 'Never' }));
    expect((await ended('chatty')).message).toHaveLength(4096);
    await pods.delete('chatty', 0);
  });

  it.concurrent('a link in place of a pod’s log directory is not followed when the pod goes', async () => {
    const script = 'mv main kept; ln -s $T main; ln -s $T/chest more';
    await pods.create(meddler('log-directory', 'logs/default_log-directory_$(UID)', script));
    const { pod } = await ended('log-directory');
    await pods.delete('log-directory', 0);
    await pods.gone('log-directory');
    const directory = `${node.run.paths.libDir}/logs/default_log-directory_${pod.metadata.uid}`;
    await waitFor('its logs to be gone', () => !existsSync(directory), { timeoutMs: 60_000 });
    expect(fingerprint(treasure)).toBe(before);
  });

  // ── files of static pods, which no API has looked at ──────────────────────────────────────────────────────────────

  it.concurrent.each<[string, (pod: Pod) => void]>([
    ['uid', (pod) => Object.assign(pod.metadata, { uid: '../../../treasure/chest' })],
    ['namespace', (pod) => Object.assign(pod.metadata, { namespace: '../../treasure' })],
    ['volume', (pod) => Object.assign(pod.spec, { volumes: [{ name: '../../../../treasure', emptyDir: {} }] })],
    ['container', (pod) => Object.assign(pod.spec.containers[0] ?? {}, { name: '../../../../treasure/chest' })],
  ])('a static pod with a path as its %s never starts', async (what, spoil) => {
    const pod = podOf(`static-${what}`, sh(`touch /tmp/here; ${STAY}`));
    spoil(pod);
    const file = `${node.run.paths.libDir}/static/${what}.json`;
    writeFileSync(file, JSON.stringify(pod));
    await waitFor(
      'the agent to say why',
      () => readFileSync(node.deckhand.logFile, 'utf8').includes(`static/${what}.json`),
      { timeoutMs: 20_000 },
    );
    const tasks = await node.containerd.ctr('containers', 'list');
    expect(tasks).not.toContain(`static-${what}`);
    expect(fingerprint(treasure)).toBe(before);
    rmSync(file);
    expect(statSync(`${treasure}/chest`).isDirectory()).toBe(true);
  });
});
