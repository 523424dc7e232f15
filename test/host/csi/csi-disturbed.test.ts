import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Pod } from '../../../src/model/pod.ts';
import type { CsiDriver } from '../../harness/csi/csi-driver.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { CsiLab } from './support/csi-lab.ts';

const NAME = 'deckhand-test-csi2';
const DRIVER = 'calm.csi.test';
const ATTACH = 'attach.csi.test';
vi.setConfig({ testTimeout: 120_000 });

describe('CSI volumes while agent and drivers come and go', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let lab: CsiLab;
  let calm: CsiDriver;
  let attach: CsiDriver;

  const podWith = (name: string, claimName: string): Pod =>
    podOf(name, sh(STAY, { volumeMounts: [{ name: 'vol', mountPath: '/data' }] }), {
      volumes: [{ name: 'vol', persistentVolumeClaim: { claimName } }],
    });
  const about = (driver: CsiDriver, id: string): string[] =>
    driver.calls.filter(({ request }) => request['volumeId'] === id).map(({ method }) => method);

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
    lab = new CsiLab(node);
    calm = lab.driver(DRIVER);
    attach = lab.driver(ATTACH, { nodeId: 'elsewhere' });
    await lab.describe(DRIVER, { attachRequired: false });
    await Promise.all([calm.start(), attach.start()]);
    await Promise.all([lab.registered(DRIVER), lab.registered(ATTACH)]);
  });

  afterAll(async () => {
    await lab?.close();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('leaves mounted volumes alone when it is killed and started again, and undoes them afterwards', async () => {
    await lab.volume('kept', { driver: calm, driverName: DRIVER, accessModes: ['ReadWriteMany'] });
    await lab.volume('held', { driver: attach, driverName: ATTACH });
    for (const name of ['kept-1', 'kept-2']) await pods.create(podWith(name, 'kept'));
    await pods.create(podWith('held', 'held'));
    await lab.attach(ATTACH, 'held');
    const before = await Promise.all(['kept-1', 'kept-2', 'held'].map((name) => pods.ready(name)));
    const asked = [about(calm, 'kept'), about(attach, 'held')];
    const unique = `kubernetes.io/csi/${ATTACH}^held`;
    await node.deckhand.kill();
    await node.deckhand.restart();
    await lab.registered(DRIVER);
    const after = await Promise.all(['kept-1', 'kept-2', 'held'].map((name) => pods.ready(name)));
    expect(after.map((pod) => containerId(pod, 'main'))).toEqual(before.map((pod) => containerId(pod, 'main')));
    // The volumes are there, and what is written to one shows in the container that had it before.
    writeFileSync(join(calm.volumePath('kept'), 'later'), 'seen');
    expect(await pods.file(after[0] as Pod, '/data/later')).toBe('seen');
    expect([about(calm, 'kept'), about(attach, 'held')]).toEqual(asked);
    expect(await lab.inUse(unique)).toBe(true);

    await pods.delete('kept-1');
    await pods.gone('kept-1');
    expect(about(calm, 'kept')).not.toContain('NodeUnstageVolume');
    await Promise.all(['kept-2', 'held'].map((name) => pods.delete(name)));
    await Promise.all(['kept-2', 'held'].map((name) => pods.gone(name)));
    expect(about(calm, 'kept').at(-1)).toBe('NodeUnstageVolume');
    expect(about(attach, 'held').slice(-2)).toEqual(['NodeUnpublishVolume', 'NodeUnstageVolume']);
    await waitFor('the volume to be in use no more', async () => !(await lab.inUse(unique)));
    expect(readFileSync(join(calm.volumePath('kept'), 'later'), 'utf8')).toBe('seen');
  });

  it('harms only the pods of a driver that hangs', async () => {
    const name = 'hanging.csi.test';
    const hanging = lab.driver(name);
    await lab.describe(name, { attachRequired: false });
    await hanging.start();
    await lab.registered(name);
    await lab.volume('stuck', { driver: hanging, driverName: name });
    await lab.volume('stuck-too', { driver: hanging, driverName: name });
    await lab.volume('fine', { driver: calm, driverName: DRIVER });
    hanging.fail('NodeStageVolume', 'hang');
    await pods.create(podWith('stuck', 'stuck'));
    await waitFor('the driver to be asked', () => about(hanging, 'stuck').includes('NodeStageVolume'));
    await pods.create(podWith('fine', 'fine'));
    await pods.create(podOf('plain', sh(STAY)));
    await Promise.all([pods.ready('fine'), pods.ready('plain')]);
    expect((await pods.get('stuck')).status?.phase).toBe('Pending');
    // A pod that waits for its driver can be deleted: what the driver may yet do is undone.
    await pods.delete('stuck');
    await pods.gone('stuck');
    expect(about(hanging, 'stuck').slice(-1)).toEqual(['NodeUnstageVolume']);

    hanging.heal('NodeStageVolume');
    await pods.create(podWith('stuck-too', 'stuck-too'));
    await pods.ready('stuck-too');
    hanging.fail('NodeUnpublishVolume', 'hang');
    await pods.delete('stuck-too');
    await waitFor('the driver to be asked', () => about(hanging, 'stuck-too').includes('NodeUnpublishVolume'));
    await Promise.all(['fine', 'plain'].map((pod) => pods.delete(pod)));
    await Promise.all(['fine', 'plain'].map((pod) => pods.gone(pod)));
    expect(await pods.find('stuck-too')).toBeDefined();
    expect(hanging.published.size).toBe(1);
    // The driver is killed and comes back: what hung is asked for again.
    hanging.crash();
    hanging.heal('NodeUnpublishVolume');
    await hanging.start();
    await pods.gone('stuck-too');
    expect(hanging.published.size + hanging.staged.size).toBe(0);
  });

  it('waits with undoing volumes until their driver is back', async () => {
    await lab.volume('orphan', { driver: calm, driverName: DRIVER });
    await pods.create(podWith('orphan', 'orphan'));
    const pod = await pods.ready('orphan');
    calm.stop();
    await waitFor('the driver to be gone from CSINode', async () =>
      (await lab.csiNode()).spec.drivers.every((driver) => driver.name !== DRIVER),
    );
    await pods.delete('orphan');
    const { message } = await pods.untilEvent('orphan', 'FailedSync');
    expect(message).toContain(`driver name ${DRIVER} not found in the list of registered CSI drivers`);
    expect(pods.podDirectories()).toContain(pod.metadata.uid);
    expect(calm.published.size).toBe(1);
    await calm.start();
    await pods.gone('orphan');
    expect(calm.published.size + calm.staged.size).toBe(0);
    await waitFor('its directory to be gone', () => !pods.podDirectories().includes(pod.metadata.uid ?? ''));
  });
});
