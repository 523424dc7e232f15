import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Secret } from '../../../src/model/objects.ts';
import type { Pod, Volume } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import type { ClaimResizeStatus } from '../../../src/model/storage.ts';
import type { CsiDriver } from '../../harness/csi/csi-driver.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { CsiLab } from './support/csi-lab.ts';

const NAME = 'deckhand-test-csi';
const ATTACH = 'attach.csi.test';
const PLAIN = 'plain.csi.test';
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

describe('CSI volumes on real containerd', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let lab: CsiLab;
  let attach: CsiDriver;
  let plain: CsiDriver;

  /** Calls of a driver about one volume. */
  const calls = (driver: CsiDriver, method: string, id: string): Record<string, unknown>[] =>
    driver.requests(method).filter((request) => request['volumeId'] === id);
  const podWith = (name: string, volume: Volume, script = '', more: Parameters<typeof sh>[1] = {}): Pod =>
    podOf(name, sh(`${script || ':'}; ${STAY}`, { volumeMounts: [{ name: 'vol', mountPath: '/data' }], ...more }), {
      volumes: [volume],
    });
  const csiFiles = (directory: string): string[] =>
    existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }) : [];

  beforeAll(async () => {
    node = await startNode(NAME, {
      deckhand: { args: ['--sync-frequency', '2s'] },
    });
    pods = new NodePods(node);
    lab = new CsiLab(node);
    attach = lab.driver(ATTACH, {
      nodeId: 'node-a',
      maxVolumes: 7,
      topology: { 'topology.csi.test/rack': 'r1' },
      capabilities: ['STAGE_UNSTAGE_VOLUME', 'EXPAND_VOLUME'],
    });
    plain = lab.driver(PLAIN, { nodeId: 'node-p' });
    await lab.describe(PLAIN, {
      attachRequired: false,
      podInfoOnMount: true,
      fsGroupPolicy: 'File',
      volumeLifecycleModes: ['Persistent', 'Ephemeral'],
      tokenRequests: [{ audience: 'vault', expirationSeconds: 3600 }],
    });
    await Promise.all([attach.start(), plain.start()]);
    await Promise.all([lab.registered(ATTACH), lab.registered(PLAIN)]);
  });

  afterAll(async () => {
    await lab?.close();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('tells the cluster of a driver, and that it is gone', async () => {
    const name = 'passing.csi.test';
    const driver = lab.driver(name, { nodeId: 'here', maxVolumes: 3, topology: { 'topology.csi.test/zone': 'z1' } });
    await driver.start();
    expect(await lab.registered(name)).toEqual({
      name,
      nodeID: 'here',
      topologyKeys: ['topology.csi.test/zone'],
      allocatable: { count: 3 },
    });
    await waitFor('the driver to be told', () => driver.statuses.length > 0);
    expect(driver.statuses).toEqual([{ registered: true, error: '' }]);
    const { metadata } = await lab.nodeObject();
    expect(metadata.labels?.['topology.csi.test/zone']).toBe('z1');
    expect(JSON.parse(metadata.annotations?.['csi.volume.kubernetes.io/nodeid'] ?? '{}')).toMatchObject({
      [name]: 'here',
    });
    const csiNode = await lab.csiNode();
    expect(csiNode.metadata.ownerReferences).toEqual([
      { apiVersion: 'v1', kind: 'Node', name: metadata.name, uid: metadata.uid },
    ]);
    driver.stop();
    await waitFor('the driver to be gone from CSINode', async () =>
      (await lab.csiNode()).spec.drivers.every((one) => one.name !== name),
    );
    const annotation = (await lab.nodeObject()).metadata.annotations?.['csi.volume.kubernetes.io/nodeid'];
    expect(Object.keys(JSON.parse(annotation ?? '{}'))).not.toContain(name);
  });

  it.concurrent('waits until a volume is attached, stages and publishes it, and undoes all of it', async () => {
    const volume = await lab.volume('disk', {
      driver: attach,
      driverName: ATTACH,
      mountOptions: ['noatime'],
      source: { fsType: 'ext4', volumeAttributes: { tier: 'gold' } },
    });
    await pods.create(podWith('disk', volume, 'echo hello > /data/file'));
    const unique = `kubernetes.io/csi/${ATTACH}^disk`;
    await waitFor('the volume to be in use', () => lab.inUse(unique));
    expect(calls(attach, 'NodeStageVolume', 'disk')).toEqual([]);
    await lab.attach(ATTACH, 'disk', { lun: '4' });
    const pod = await pods.ready('disk');
    expect(readFileSync(join(attach.volumePath('disk'), 'file'), 'utf8')).toBe('hello\n');
    const [stage, ...more] = calls(attach, 'NodeStageVolume', 'disk');
    expect(more).toEqual([]);
    expect(stage).toMatchObject({
      publishContext: { lun: '4' },
      volumeContext: { tier: 'gold' },
      volumeCapability: {
        mount: { fsType: 'ext4', mountFlags: ['noatime'] },
        accessMode: { mode: 'SINGLE_NODE_WRITER' },
      },
    });
    const directory = `${lab.rootDir}/pods/${pod.metadata.uid}/volumes/kubernetes.io~csi/pv-disk`;
    expect(calls(attach, 'NodePublishVolume', 'disk')).toHaveLength(1);
    expect(calls(attach, 'NodePublishVolume', 'disk')[0]).toMatchObject({
      publishContext: { lun: '4' },
      stagingTargetPath: stage?.['stagingTargetPath'],
      targetPath: `${directory}/mount`,
      readonly: false,
    });
    expect(JSON.parse(readFileSync(`${directory}/vol_data.json`, 'utf8'))).toMatchObject({
      specVolID: 'pv-disk',
      volumeHandle: 'disk',
      driverName: ATTACH,
      nodeName: node.deckhand.nodeName,
      volumeLifecycleMode: 'Persistent',
    });
    await pods.delete('disk');
    await pods.gone('disk');
    expect(calls(attach, 'NodeUnpublishVolume', 'disk')).toEqual([
      { volumeId: 'disk', targetPath: `${directory}/mount` },
    ]);
    expect(calls(attach, 'NodeUnstageVolume', 'disk')).toHaveLength(1);
    await waitFor('the volume to be in use no more', async () => !(await lab.inUse(unique)));
    expect(csiFiles(`${lab.rootDir}/plugins/kubernetes.io/csi/${ATTACH}`)).toEqual([]);
    expect(readFileSync(join(attach.volumePath('disk'), 'file'), 'utf8')).toBe('hello\n');
  });

  it.concurrent('stages a volume once for all its pods and unstages it after the last', async () => {
    const volume = await lab.volume('shared', { driver: plain, driverName: PLAIN, accessModes: ['ReadWriteMany'] });
    await Promise.all(['shared-1', 'shared-2'].map((name) => pods.create(podWith(name, volume))));
    await Promise.all(['shared-1', 'shared-2'].map((name) => pods.ready(name)));
    expect(calls(plain, 'NodeStageVolume', 'shared')).toHaveLength(1);
    expect(calls(plain, 'NodePublishVolume', 'shared')).toHaveLength(2);
    await pods.delete('shared-1');
    await pods.gone('shared-1');
    expect(calls(plain, 'NodeUnstageVolume', 'shared')).toEqual([]);
    await pods.delete('shared-2');
    await pods.gone('shared-2');
    expect(calls(plain, 'NodeUnstageVolume', 'shared')).toHaveLength(1);
    expect(plain.staged.has('shared')).toBe(false);
  });

  it.concurrent('gives a driver secrets, the pod and tokens, and the volume to fsGroup', async () => {
    const secret = (name: string, word: string) =>
      node.deckhand.api.create<Secret>(resources.secrets, {
        metadata: { name, namespace: 'default' },
        data: { word: Buffer.from(word).toString('base64') },
      });
    await Promise.all([secret('stage-secret', 'stage'), secret('publish-secret', 'publish')]);
    const volume = await lab.volume('context', {
      driver: plain,
      driverName: PLAIN,
      source: {
        nodeStageSecretRef: { namespace: 'default', name: 'stage-secret' },
        nodePublishSecretRef: { namespace: 'default', name: 'publish-secret' },
      },
    });
    const pod = podWith('context', volume);
    pod.spec.securityContext = { fsGroup: 4711 };
    await pods.create(pod);
    const { metadata } = await pods.ready('context');
    expect(calls(plain, 'NodeStageVolume', 'context')[0]?.['secrets']).toEqual({ word: 'stage' });
    const [publish] = calls(plain, 'NodePublishVolume', 'context');
    expect(publish?.['secrets']).toEqual({ word: 'publish' });
    const context = publish?.['volumeContext'] as Record<string, string>;
    expect(context).toMatchObject({
      'csi.storage.k8s.io/pod.name': 'context',
      'csi.storage.k8s.io/pod.namespace': 'default',
      'csi.storage.k8s.io/pod.uid': metadata.uid,
      'csi.storage.k8s.io/serviceAccount.name': 'default',
      'csi.storage.k8s.io/ephemeral': 'false',
    });
    const { vault } = JSON.parse(context['csi.storage.k8s.io/serviceAccount.tokens'] ?? '{}');
    expect(JSON.parse(Buffer.from(vault.token.split('.')[1], 'base64url').toString()).aud).toEqual(['vault']);
    expect(Date.parse(vault.expirationTimestamp)).toBeGreaterThan(Date.now());
    expect(statSync(plain.volumePath('context'))).toMatchObject({ gid: 4711 });
    expect(statSync(plain.volumePath('context')).mode & 0o2070).toBe(0o2070);
    await pods.delete('context');
  });

  it.concurrent('makes a volume of the pod itself, and refuses one that its driver does not have', async () => {
    const volume: Volume = { name: 'vol', csi: { driver: PLAIN, volumeAttributes: { kind: 'scratch' } } };
    await pods.create(podWith('inline', volume, 'echo mine > /data/file'));
    const pod = await pods.ready('inline');
    const publish = plain
      .requests('NodePublishVolume')
      .find((request) => (request['volumeContext'] as Record<string, string>)['kind'] === 'scratch');
    expect(publish).toMatchObject({
      volumeContext: { 'csi.storage.k8s.io/ephemeral': 'true', 'csi.storage.k8s.io/pod.uid': pod.metadata.uid },
      stagingTargetPath: '',
    });
    const id = String(publish?.['volumeId']);
    expect(id).toMatch(/^csi-[0-9a-f]{64}$/);
    expect(readFileSync(join(plain.volumePath(id), 'file'), 'utf8')).toBe('mine\n');
    await pods.delete('inline');
    await pods.gone('inline');
    expect(existsSync(plain.volumePath(id))).toBe(false);
    expect(calls(plain, 'NodeStageVolume', id)).toEqual([]);

    await pods.create(podWith('inline-bad', { name: 'vol', csi: { driver: ATTACH } }));
    const { message } = await pods.untilEvent('inline-bad', 'FailedMount');
    expect(message).toContain(`volume mode "Ephemeral" not supported by driver ${ATTACH} (no CSIDriver object)`);
    await pods.delete('inline-bad');
    await pods.gone('inline-bad');
  });

  it.concurrent('gives a container a block volume as a device, and takes it back', async () => {
    const name = 'blocks.csi.test';
    const driver = lab.driver(name);
    await lab.describe(name, { attachRequired: false });
    await driver.start();
    await lab.registered(name);
    const volume = await lab.volume('blocks', { driver, driverName: name, volumeMode: 'Block' });
    const script = `test -b /dev/disk && printf written | dd of=/dev/disk conv=notrunc && sync; ${STAY}`;
    await pods.create(
      podOf('blocks', sh(script, { volumeDevices: [{ name: 'vol', devicePath: '/dev/disk' }] }), { volumes: [volume] }),
    );
    const pod = await pods.ready('blocks');
    const image = `${driver.volumePath('blocks')}.img`;
    await waitFor('what the container wrote', () => readFileSync(image).subarray(0, 7).toString() === 'written');
    const [stage] = calls(driver, 'NodeStageVolume', 'blocks');
    expect(stage?.['volumeCapability']).toMatchObject({ block: {}, mount: null });
    const [publish] = calls(driver, 'NodePublishVolume', 'blocks');
    const folder = `${lab.rootDir}/plugins/kubernetes.io/csi/volumeDevices`;
    expect(publish).toMatchObject({
      stagingTargetPath: `${folder}/staging/pv-blocks`,
      targetPath: `${folder}/publish/pv-blocks/${pod.metadata.uid}`,
    });
    driver.fail('NodeUnpublishVolume', { code: 13, details: 'not now' }, 1);
    await pods.delete('blocks');
    await pods.gone('blocks');
    expect(calls(driver, 'NodeUnpublishVolume', 'blocks')).toHaveLength(2);
    expect(calls(driver, 'NodeUnstageVolume', 'blocks')).toHaveLength(1);
    expect(driver.staged.has('blocks')).toBe(false);
    expect(csiFiles(folder).filter((name) => name.includes('blocks'))).toEqual([]);
  });

  it.concurrent('mounts what is for reading only for reading only', async () => {
    const volume = await lab.volume('frozen', { driver: plain, driverName: PLAIN });
    await pods.create(
      podWith(
        'frozen',
        { name: 'vol', persistentVolumeClaim: { claimName: 'frozen', readOnly: true } },
        'touch /data/x || echo refused',
      ),
    );
    expect(volume.persistentVolumeClaim?.claimName).toBe('frozen');
    const pod = await pods.ready('frozen');
    await pods.untilLog(pod, 'refused');
    expect(calls(plain, 'NodePublishVolume', 'frozen')[0]?.['readonly']).toBe(true);
    await pods.delete('frozen');
  });

  it.concurrent('says why a volume is not there, and goes on once the driver can', async () => {
    const flaky = lab.driver('flaky.csi.test');
    await lab.describe('flaky.csi.test', { attachRequired: false });
    flaky.fail('NodeStageVolume', { code: 13, details: 'the array is on fire' }, 2);
    const volume = await lab.volume('flaky', { driver: flaky, driverName: 'flaky.csi.test' });
    await pods.create(podWith('flaky', volume));
    const missing = await pods.untilEvent('flaky', 'FailedMount');
    expect(missing.message).toContain('driver name flaky.csi.test not found in the list of registered CSI drivers');
    await flaky.start();
    await waitFor('the refusal to be told', async () =>
      (await pods.events('flaky')).some(({ message }) =>
        message?.includes(
          'MountVolume.SetUp failed for volume "pv-flaky" : kubernetes.io/csi: attacher.MountDevice failed: rpc error: code = Internal desc = the array is on fire',
        ),
      ),
    );
    await pods.ready('flaky');
    await pods.delete('flaky');
    await pods.gone('flaky');
    expect(flaky.staged.size + flaky.published.size).toBe(0);
  });

  it.concurrent('grows a volume that is in use, and says so in its claim', async () => {
    const volume = await lab.volume('growing', { driver: plain, driverName: PLAIN, sizeBytes: 1 << 20 });
    await pods.create(podWith('growing', volume));
    await pods.ready('growing');
    const { api } = node.deckhand;
    const size = String(4 << 20);
    await api.mergePatch(resources.persistentvolumes, undefined, 'pv-growing', {
      spec: { capacity: { storage: size } },
    });
    await api.patchStatus(resources.persistentvolumeclaims, 'default', 'growing', {
      allocatedResources: { storage: size },
      allocatedResourceStatuses: { storage: 'NodeResizePending' },
      conditions: [{ type: 'FileSystemResizePending', status: 'True', message: 'waiting for the node' }],
    });
    await waitFor('the claim to have its new size', async () => {
      const { status } = await lab.claim('growing');
      return status?.capacity?.['storage'] === '4Mi' || status?.capacity?.['storage'] === size;
    });
    const status = (await lab.claim('growing')).status as ClaimResizeStatus;
    expect(status.conditions ?? []).toEqual([]);
    expect(status.allocatedResourceStatuses?.['storage']).toBeUndefined();
    expect(plain.sizeOf('growing')).toBe(4 << 20);
    expect(calls(plain, 'NodeExpandVolume', 'growing')[0]).toMatchObject({ capacityRange: { requiredBytes: 4 << 20 } });
    expect((await pods.events('growing')).map(({ reason }) => reason)).toContain('FileSystemResizeSuccessful');
    await pods.delete('growing');
  });
});
