import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import type { ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret } from '../../../src/model/objects.ts';
import type { Container, PodSpec, Volume } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { BUSYBOX_IMAGE } from '../../harness/images.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { mountsBelow } from '../../harness/mounts.ts';
import { containerId } from '../../harness/pod-summary.ts';
import { runCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { SilentFuse } from '../node/support/silent-fuse.ts';

const NAME = 'deckhand-test-volumes';
vi.setConfig({ maxConcurrency: 30, testTimeout: 90_000, hookTimeout: 90_000 });

describe('volumes of pods on real containerd', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let host: string;
  let root: string;
  const undo: (() => Promise<unknown>)[] = [];

  const api = () => node.deckhand.api;
  /** A PersistentVolume and its claim, tied to each other by a class of their own. */
  async function makeVolume(name: string, spec: NonNullable<PersistentVolume['spec']>): Promise<void> {
    const common = {
      storageClassName: name,
      ...(spec.volumeMode === undefined ? {} : { volumeMode: spec.volumeMode }),
    };
    const affinity = {
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'Exists' }] }] },
    };
    await api().create<PersistentVolume>(resources.persistentvolumes, {
      metadata: { name: `pv-${name}` },
      spec: {
        capacity: { storage: '1Mi' },
        accessModes: ['ReadWriteOnce'],
        ...(spec.local === undefined ? {} : { nodeAffinity: affinity }),
        ...spec,
        ...common,
      },
    });
    await api().create<PersistentVolumeClaim>(resources.persistentvolumeclaims, {
      metadata: { name, namespace: 'default' },
      spec: { ...common, accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
    });
  }
  const claimed = (claimName: string): Volume => ({ name: 'data', persistentVolumeClaim: { claimName } });
  const at = (mountPath: string, more: object = {}) => ({ volumeMounts: [{ name: 'data', mountPath, ...more }] });
  /** Runs a pod that prints something and stays; returns it and its log once "done" is in it. */
  const printed = async (name: string, script: string, container: Partial<Container>, spec: Partial<PodSpec>) => {
    await pods.create(podOf(name, sh(`${script}; echo done; ${STAY}`, container), spec));
    const pod = await pods.ready(name);
    return { pod, log: await pods.untilLog(pod, 'done\n') };
  };

  async function diskOf(name: string): Promise<string> {
    writeFileSync(`${host}/${name}`, '');
    await truncate(`${host}/${name}`, 24 << 20);
    const device = (await runCommand(['losetup', '-f', '--show', `${host}/${name}`])).trim();
    undo.push(() => runCommand(['losetup', '-d', device]));
    return device;
  }

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
    host = `${node.run.paths.libDir}/host`;
    root = `${node.run.paths.libDir}/kubelet`;
    mkdirSync(host);
  });

  afterAll(async () => {
    const names = (await api().list<{ metadata: { name?: string } }>(resources.pods, 'default')).map(
      ({ metadata }) => metadata.name ?? '',
    );
    for (const name of names) await pods.delete(name, 0).catch(() => {});
    await waitFor('volumes to be taken down', () => pods.podDirectories().length === 0);
    // What all pods used is as before: nothing mounted but the root itself and the node's store.
    const left = mountsBelow(root).map(({ mountPoint }) => mountPoint.slice(root.length));
    for (const step of undo.reverse()) await step();
    await node?.close();
    expect(left.filter((path) => path !== '' && path !== '/plugins/deckhand.io~memory')).toEqual([]);
    expect(await runCommand(['losetup', '-a'])).not.toContain(host);
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it.concurrent('emptyDir: in memory with the least of all limits, on disk, and gone with the pod', async () => {
    const { pod, log } = await printed(
      'empty',
      'df -k /m /d | tail -2; head -c 2M /dev/zero > /m/big || echo full; stat -c %a /d; touch /d/x',
      {
        volumeMounts: [
          { name: 'm', mountPath: '/m' },
          { name: 'd', mountPath: '/d' },
        ],
        resources: { limits: { memory: '64Mi' } },
      },
      {
        volumes: [
          { name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
          { name: 'd', emptyDir: {} },
        ],
      },
    );
    expect(log).toMatch(/tmpfs\s+1024\s/);
    expect(log).toContain('full');
    expect(log).toContain('777');
    const table = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const [major = 0, minor = 0] = (await runCommand(['uname', '-r'])).split('.').map(Number);
    const line = table.find((text) => text.includes(`${pod.metadata.uid}/volumes/kubernetes.io~empty-dir/m `)) ?? '';
    expect(line).toContain('size=1024k');
    if (major > 6 || (major === 6 && minor >= 4)) expect(line).toContain('noswap');
    await pods.delete('empty', 0);
    await pods.gone('empty');
    await waitFor('its files to be gone', () => !existsSync(`${root}/pods/${pod.metadata.uid}`));
  });

  it.concurrent('hostPath: every type, and a clear refusal of what does not fit', async () => {
    mkdirSync(`${host}/types/dir`, { recursive: true });
    writeFileSync(`${host}/types/file`, 'file');
    symlinkSync('file', `${host}/types/link`);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(`${host}/types/socket`, resolve));
    const fitting: [string, NonNullable<Volume['hostPath']>][] = [
      ['any', { path: `${host}/types` }],
      ['dir', { path: `${host}/types/dir`, type: 'Directory' }],
      ['made', { path: `${host}/types/made/deep`, type: 'DirectoryOrCreate' }],
      ['file', { path: `${host}/types/link`, type: 'File' }],
      ['newfile', { path: `${host}/types/newfile`, type: 'FileOrCreate' }],
      ['socket', { path: `${host}/types/socket`, type: 'Socket' }],
      ['char', { path: '/dev/null', type: 'CharDevice' }],
      ['block', { path: '/dev/loop0', type: 'BlockDevice' }],
    ];
    const { log } = await printed(
      'types',
      'cat /file; for f in any dir made file newfile socket char block; do stat -c "%n %F %a" /$f; done',
      { volumeMounts: fitting.map(([name]) => ({ name, mountPath: `/${name}` })) },
      { volumes: fitting.map(([name, hostPath]) => ({ name, hostPath })) },
    );
    server.close();
    expect(log).toContain('file/any directory');
    for (const text of [
      '/made directory 755',
      '/newfile regular empty file 644',
      '/socket socket',
      '/char character special file',
      '/block block special file',
    ])
      expect(log).toContain(text);
    await pods.create(
      podOf('wrong-type', sh(STAY, at('/v')), {
        volumes: [{ name: 'data', hostPath: { path: `${host}/types/file`, type: 'Directory' } }],
      }),
    );
    const event = await pods.untilEvent('wrong-type', 'FailedMount');
    expect(event.message).toBe(
      `MountVolume.SetUp failed for volume "data" : hostPath type check failed: ${host}/types/file is not a directory`,
    );
    // It is tried again until it fits.
    const uid = (await pods.get('wrong-type')).metadata.uid;
    expect(uid).toBeDefined();
    await pods.delete('wrong-type', 0);
  });

  it.concurrent('mount propagation: to nobody, from the host, and both ways', async () => {
    const volumes: Volume[] = [{ name: 'data', emptyDir: {} }];
    const watch = (name: string, propagation: 'None' | 'HostToContainer') =>
      sh(
        `until ls /v/sub/from-host >/dev/null 2>&1 || [ -e /v/stop ]; do sleep 0.1; done; ls /v/sub; echo done; ${STAY}`,
        {
          name,
          ...at('/v', { mountPropagation: propagation }),
        },
      );
    const maker = sh(
      `mkdir /v/sub /v/back; touch /v/ready; until [ -e /v/sub/from-host ]; do sleep 0.1; done; mount -t tmpfs inner /v/back && touch /v/back/from-container; echo done; trap 'umount /v/back; exit 0' TERM; while :; do sleep 1000 & wait $!; done`,
      { name: 'both', securityContext: { privileged: true }, ...at('/v', { mountPropagation: 'Bidirectional' }) },
    );
    await pods.create(podOf('spread', [maker, watch('none', 'None'), watch('one', 'HostToContainer')], { volumes }));
    const pod = await pods.ready('spread');
    const volume = pods.emptyDir(pod, 'data');
    await waitFor('the pod', () => existsSync(`${volume}/ready`));
    await runCommand(['mount', '-t', 'tmpfs', 'outer', `${volume}/sub`]);
    undo.push(() => runCommand(['sh', '-c', `umount ${volume}/sub 2>/dev/null || true`]));
    writeFileSync(`${volume}/sub/from-host`, '');
    await pods.untilLog(pod, 'done\n', 'one');
    expect(pods.log(pod, 'one')).toContain('from-host');
    await pods.untilLog(pod, 'done\n', 'both');
    expect(readdirSync(`${volume}/back`)).toEqual(['from-container']);
    writeFileSync(`${volume}/stop`, '');
    await pods.untilLog(pod, 'done\n', 'none');
    expect(pods.log(pod, 'none')).not.toContain('from-host');
    await pods.delete('spread', 1);
    await pods.gone('spread');
    await waitFor('its mounts to be gone', () => mountsBelow(`${root}/pods/${pod.metadata.uid}`).length === 0);
  });

  it.concurrent('recursive read-only: refused where the runtime lacks it, left out where it is only wished', async () => {
    const { status } = await waitFor('the node to be registered', () =>
      api().find<Node>(resources.nodes, undefined, node.deckhand.nodeName),
    );
    const able = JSON.stringify(status?.runtimeHandlers ?? []).includes('"recursiveReadOnlyMounts":true');
    const volumes: Volume[] = [{ name: 'data', emptyDir: {} }];
    const readOnly = (recursiveReadOnly: 'Enabled' | 'IfPossible') => at('/v', { readOnly: true, recursiveReadOnly });
    const { pod } = await printed('rro-wish', 'touch /v/x 2>&1 || true', readOnly('IfPossible'), { volumes });
    expect(await pods.untilLog(pod, 'done\n')).toContain('Read-only file system');
    if (able) {
      mkdirSync(`${host}/deep/sub`, { recursive: true });
      await runCommand(['mount', '-t', 'tmpfs', 'deep', `${host}/deep/sub`]);
      undo.push(() => runCommand(['umount', `${host}/deep/sub`]));
      const deep: Volume[] = [{ name: 'data', hostPath: { path: `${host}/deep` } }];
      const tried = await printed('rro-deep', 'touch /v/sub/x 2>&1 || true', readOnly('Enabled'), { volumes: deep });
      expect(tried.log).toContain('Read-only file system');
      return;
    }
    await pods.create(podOf('rro-must', sh(STAY, readOnly('Enabled')), { volumes }));
    const waiting = await pods.until('rro-must', 'wait', (found) =>
      found.status?.containerStatuses?.[0]?.state?.waiting?.message?.includes('recursive') === true
        ? found.status.containerStatuses[0].state.waiting
        : undefined,
    );
    expect(waiting.reason).toBe('CreateContainerConfigError');
    expect(waiting.message).toContain('requested recursive read-only mode, but it is not supported by the runtime');
    await pods.delete('rro-must', 0);
  });

  it.concurrent('projected: every source at once, with modes, for a user with a group', async () => {
    await api().create<ConfigMap>(resources.configmaps, {
      metadata: { name: 'mix', namespace: 'default' },
      data: { a: 'from-map', b: 'unused' },
    });
    await api().create<Secret>(resources.secrets, {
      metadata: { name: 'mix', namespace: 'default' },
      data: { s: Buffer.from('from-secret').toString('base64') },
    });
    const sources = [
      { configMap: { name: 'mix', items: [{ key: 'a', path: 'cm/a', mode: 0o400 }] } },
      { secret: { name: 'mix', items: [{ key: 's', path: 'secret/s' }] } },
      { configMap: { name: 'absent', optional: true } },
      {
        downwardAPI: {
          items: [
            { path: 'down/labels', fieldRef: { fieldPath: 'metadata.labels' } },
            {
              path: 'down/memory',
              resourceFieldRef: { containerName: 'main', resource: 'limits.memory' },
              mode: 0o440,
            },
          ],
        },
      },
      { serviceAccountToken: { path: 'token', expirationSeconds: 600 } },
    ];
    const { log } = await printed(
      'mix',
      'cd /v; id -G; cat cm/a secret/s down/labels down/memory; echo; for f in cm/a secret/s down/memory token; do stat -L -c "%n %a %g" $f; done; head -c 3 token; echo; touch x 2>&1',
      { ...at('/v'), resources: { limits: { memory: '32Mi' } } },
      {
        volumes: [{ name: 'data', projected: { sources, defaultMode: 0o444 } }],
        securityContext: { runAsUser: 1000, runAsGroup: 1001, fsGroup: 2000 },
      },
    );
    expect(log).toContain('1001 2000');
    expect(log).toContain('from-mapfrom-secret');
    expect(log).toContain('33554432');
    expect(log).toContain('cm/a 440 2000');
    expect(log).toContain('secret/s 444 2000');
    expect(log).toContain('down/memory 440 2000');
    expect(log).toContain('token 640 2000');
    expect(log).toMatch(/\neyJ\n/);
    expect(log).toContain('Read-only file system');
  });

  it.concurrent('subPath and subPathExpr: directories, files, and what is made for them', async () => {
    const { pod, log } = await printed(
      'parts',
      'cat /file; ls /dir; echo x > /named/x; echo y > /made/deep; touch /ro/x 2>&1; stat -c %a /made',
      {
        env: [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
        volumeMounts: [
          { name: 'data', mountPath: '/file', subPath: 'tree/file' },
          { name: 'data', mountPath: '/dir', subPath: 'tree' },
          { name: 'data', mountPath: '/named', subPathExpr: 'by/$(POD)' },
          { name: 'data', mountPath: '/made', subPath: 'a/b/c' },
          { name: 'data', mountPath: '/ro', subPath: 'tree', readOnly: true },
        ],
      },
      {
        volumes: [{ name: 'data', emptyDir: {} }],
        initContainers: [sh('mkdir /v/tree; echo inner > /v/tree/file', { name: 'init', ...at('/v') })],
      },
    );
    expect(log).toContain('inner\nfile\n');
    expect(log).toContain('Read-only file system');
    expect(log).toContain('777');
    const volume = pods.emptyDir(pod, 'data');
    expect(readFileSync(`${volume}/by/parts/x`, 'utf8')).toBe('x\n');
    expect(readFileSync(`${volume}/a/b/c/deep`, 'utf8')).toBe('y\n');
    expect(readdirSync(`${root}/pods/${pod.metadata.uid}/volume-subpaths/data/main`)).toHaveLength(5);
    await pods.delete('parts', 0);
    await pods.gone('parts');
    await waitFor('its subPaths to be gone', () => !existsSync(`${root}/pods/${pod.metadata.uid}`));
  });

  it.concurrent('claims: on a hostPath, a local directory, a local disk and as a block device', async () => {
    mkdirSync(`${host}/by-path`);
    mkdirSync(`${host}/local`);
    await makeVolume('by-path', { hostPath: { path: `${host}/by-path` } });
    await makeVolume('local', { local: { path: `${host}/local` } });
    await makeVolume('disk', { local: { path: await diskOf('disk'), fsType: 'ext4' } });
    await makeVolume('raw', { local: { path: await diskOf('raw') }, volumeMode: 'Block' });
    const [onPath, local, disk, raw] = await Promise.all([
      printed('on-path', 'echo 1 > /v/x', at('/v'), { volumes: [claimed('by-path')] }),
      printed('on-local', 'echo 2 > /v/x; id -G; stat -c "%a %g" /v', at('/v'), {
        volumes: [claimed('local')],
        securityContext: { runAsUser: 1000, fsGroup: 4000 },
      }),
      printed('on-disk', 'echo 3 > /v/x; ls /v; df -T /v | tail -1', at('/v'), { volumes: [claimed('disk')] }),
      printed(
        'on-raw',
        'stat -c %F /dev/xvda; echo boo | dd of=/dev/xvda conv=notrunc 2>/dev/null; sync; head -c 3 /dev/xvda',
        { volumeDevices: [{ name: 'data', devicePath: '/dev/xvda' }] },
        { volumes: [claimed('raw')] },
      ),
    ]);
    expect(readFileSync(`${host}/by-path/x`, 'utf8')).toBe('1\n');
    expect(readFileSync(`${host}/local/x`, 'utf8')).toBe('2\n');
    expect(local.log).toContain('4000');
    expect(local.log).toContain('2775 4000');
    expect(disk.log).toContain('lost+found');
    expect(disk.log).toContain('ext4');
    expect(raw.log).toContain('block special file');
    expect(raw.log).toContain('boo');
    expect(readFileSync(`${host}/raw`).subarray(0, 3).toString()).toBe('boo');
    expect(onPath.pod.status?.phase).toBe('Running');
    for (const name of ['on-path', 'on-local', 'on-disk', 'on-raw']) await pods.delete(name, 0);
    for (const { pod } of [local, disk, raw]) {
      await pods.gone(pod.metadata.name ?? '');
      await waitFor('its volumes to be gone', () => !existsSync(`${root}/pods/${pod.metadata.uid}`));
    }
    expect(readdirSync(`${host}/local`)).toEqual(['x']);
    await waitFor('the disk to be unmounted', () => mountsBelow(`${root}/plugins/kubernetes.io`).length === 0);
  });

  it.concurrent('a claim that is not bound is waited for, with kubelet’s words', async () => {
    await pods.create(podOf('unbound', sh(STAY, at('/v')), { volumes: [claimed('late')] }));
    const absent = await pods.untilEvent('unbound', 'FailedMount');
    expect(absent.message).toContain(
      'Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]: error processing PVC default/late: failed to fetch PVC from API server: persistentvolumeclaims "late" not found',
    );
    mkdirSync(`${host}/late`);
    await makeVolume('late', { hostPath: { path: `${host}/late` } });
    await pods.ready('unbound');
  });

  it.concurrent('generic ephemeral volume: its claim is made, owned, and goes with the pod', async () => {
    mkdirSync(`${host}/ephemeral`);
    await api().create<PersistentVolume>(resources.persistentvolumes, {
      metadata: { name: 'pv-ephemeral' },
      spec: {
        capacity: { storage: '1Mi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'ephemeral',
        hostPath: { path: `${host}/ephemeral` },
      },
    });
    const spec = {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'ephemeral',
      resources: { requests: { storage: '1Mi' } },
    };
    const volumeClaimTemplate = { metadata: { labels: { kind: 'scratch' } }, spec };
    const { pod } = await printed('eph', 'echo 1 > /v/x', at('/v'), {
      volumes: [{ name: 'data', ephemeral: { volumeClaimTemplate } }],
    });
    const claim = await api().get<PersistentVolumeClaim>(resources.persistentvolumeclaims, 'default', 'eph-data');
    expect(claim.metadata.labels).toEqual({ kind: 'scratch' });
    expect(claim.metadata.ownerReferences).toMatchObject([{ kind: 'Pod', uid: pod.metadata.uid, controller: true }]);
    expect(readFileSync(`${host}/ephemeral/x`, 'utf8')).toBe('1\n');
    await pods.delete('eph', 0);
    await waitFor(
      'the claim to be gone',
      async () => (await api().find(resources.persistentvolumeclaims, 'default', 'eph-data')) === undefined,
    );
    // A claim of that name that somebody else made is not used.
    await api().create<PersistentVolumeClaim>(resources.persistentvolumeclaims, {
      metadata: { name: 'eph2-data', namespace: 'default' },
      spec: { ...spec, volumeName: 'none' },
    });
    await pods.create(
      podOf('eph2', sh(STAY, at('/v')), { volumes: [{ name: 'data', ephemeral: { volumeClaimTemplate } }] }),
    );
    const event = await pods.untilEvent('eph2', 'FailedMount');
    expect(event.message).toContain('PVC is not bound');
    await pods.delete('eph2', 0);
  });

  it.concurrent('image volume: mounted by a runtime that can, refused for one that cannot', async () => {
    const volumes: Volume[] = [{ name: 'data', image: { reference: BUSYBOX_IMAGE, pullPolicy: 'Never' } }];
    const able = !/^(1\.|2\.0)/.test(node.containerd.version);
    if (able) {
      const script = 'ls /v/bin/busybox; touch /v/x 2>&1; ls /sub/busybox';
      const volumeMounts = [
        { name: 'data', mountPath: '/v' },
        { name: 'data', mountPath: '/sub', subPath: 'bin' },
      ];
      const { log } = await printed('image', script, { volumeMounts }, { volumes });
      expect(log).toContain('/v/bin/busybox');
      expect(log).toContain('Read-only file system');
      expect(log).toContain('/sub/busybox');
      return;
    }
    await pods.create(podOf('image', sh(STAY, at('/v')), { volumes }));
    const event = await pods.untilEvent('image', 'FailedMount');
    expect(event.message).toContain(
      `MountVolume.SetUp failed for volume "data" : image volumes need containerd 2.1 or later, but this node has containerd ${node.containerd.version}`,
    );
    await pods.delete('image', 0);
  });

  it.concurrent('a filesystem that hangs harms the pods that use it, and no other', async () => {
    const fuse = await SilentFuse.mount(`${host}/fuse`);
    undo.push(() => fuse.close());
    await makeVolume('hung', { local: { path: `${host}/fuse` } });
    await Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        pods.create(podOf(`hung-${n}`, sh(STAY, at('/v')), { volumes: [claimed('hung')] })),
      ),
    );
    await pods.create(
      podOf('hung-part', sh(STAY, at('/v', { subPath: 'x' })), {
        volumes: [{ name: 'data', hostPath: { path: `${host}/fuse` } }],
      }),
    );
    const { log } = await printed('beside', 'cat /v/x', at('/v'), {
      volumes: [{ name: 'data', emptyDir: {} }],
      initContainers: [sh('echo fine > /v/x', { name: 'init', ...at('/v') })],
    });
    expect(log).toContain('fine');
    // An earlier one may say that its claim was not bound yet.
    await waitFor('hung-0 to be told', async () =>
      (await pods.events('hung-0')).some(
        ({ reason, message }) => reason === 'FailedMount' && message?.includes('does not answer') === true,
      ),
    );
    await pods.until('hung-part', 'say so', ({ status }) =>
      status?.containerStatuses?.[0]?.state?.waiting?.message?.includes(
        'failed to prepare subPath for volumeMount "data" of container "main"',
      ),
    );
    const names = [...Array.from({ length: 6 }, (_, n) => `hung-${n}`), 'hung-part'];
    await Promise.all(names.map((name) => pods.delete(name, 0)));
    await Promise.all(names.map((name) => pods.gone(name)));
  });

  // Last, for it takes the agent down.
  it('keeps volumes over a restart, and takes down those of pods that vanished', async () => {
    mkdirSync(`${host}/kept`);
    mkdirSync(`${host}/treasure`);
    writeFileSync(`${host}/treasure/coin`, '1');
    await makeVolume('kept', { local: { path: `${host}/kept` } });
    await pods.create(
      podOf(
        'kept',
        sh(STAY, {
          volumeMounts: [
            { name: 'data', mountPath: '/v' },
            { name: 'data', mountPath: '/sub', subPath: 'sub' },
            { name: 'm', mountPath: '/m' },
          ],
        }),
        { volumes: [claimed('kept'), { name: 'm', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }] },
      ),
    );
    const before = await pods.ready('kept');
    await node.deckhand.kill();
    // As if this pod had been deleted while the agent was away, with a mount that nobody knows of in its volume.
    const orphan = `${root}/pods/0d5a64a0-0000-4000-8000-00000000dead`;
    mkdirSync(`${orphan}/volumes/kubernetes.io~empty-dir/m/in`, { recursive: true });
    mkdirSync(`${orphan}/volumes/kubernetes.io~local-volume/pv-x`, { recursive: true });
    await runCommand(['mount', '-t', 'tmpfs', 'tmpfs', `${orphan}/volumes/kubernetes.io~empty-dir/m`]);
    mkdirSync(`${orphan}/volumes/kubernetes.io~empty-dir/m/in`);
    for (const place of ['kubernetes.io~empty-dir/m/in', 'kubernetes.io~local-volume/pv-x']) {
      await runCommand(['mount', '--bind', `${host}/treasure`, `${orphan}/volumes/${place}`]);
    }
    const table = mountsBelow(`${root}/pods/${before.metadata.uid}`);
    expect(table).toHaveLength(3);
    await node.deckhand.restart();
    const after = await pods.ready('kept');
    expect(containerId(after, 'main')).toBe(containerId(before, 'main'));
    await waitFor('the orphan to be gone', () => !existsSync(orphan), { timeoutMs: 60_000 });
    expect(readdirSync(`${host}/treasure`)).toEqual(['coin']);
    expect(mountsBelow(`${root}/pods/${before.metadata.uid}`)).toEqual(table);
    expect(statSync(`${host}/kept/sub`).isDirectory()).toBe(true);
    await pods.delete('kept', 0);
    await pods.gone('kept');
    await waitFor('its mounts to be gone', () => mountsBelow(`${root}/pods/${before.metadata.uid}`).length === 0);
    expect(readdirSync(`${host}/kept`)).toEqual(['sub']);
  });
});
