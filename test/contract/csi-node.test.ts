import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CsiMetrics } from '../../src/host/csi/csi-metrics.ts';
import { FakeCsiNode } from '../../src/host/csi/fake.ts';
import type { CsiNode, PublishRequest, StageRequest } from '../../src/host/csi/port.ts';
import { RealCsiNode } from '../../src/host/csi/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { Metrics } from '../../src/kit/metrics.ts';
import { CsiDriver } from '../harness/csi/csi-driver.ts';
import { waitFor } from '../harness/wait-for.ts';

const MOUNT = {
  accessMode: 'SINGLE_NODE_WRITER',
  access: { type: 'mount', fsType: 'ext4', mountFlags: ['noatime'] },
} as const;

interface Opened {
  readonly node: CsiNode;
  hang(method: string): void;
  close(): void;
}

async function real(base: string): Promise<Opened> {
  const driver = new CsiDriver({
    name: 'contract.csi.test',
    rootDir: join(base, 'kubelet'),
    stateDir: join(base, 'state'),
    capabilities: ['STAGE_UNSTAGE_VOLUME', 'EXPAND_VOLUME', 'GET_VOLUME_STATS'],
    nodeId: 'n-1',
    maxVolumes: 9,
    topology: { 'topology.test/zone': 'z' },
    mounts: false,
  });
  await driver.createVolume('vol', 1 << 20);
  await driver.start(false);
  const node = new RealCsiNode({ endpoint: driver.socket, timeoutMs: 5000 }, { clock: new SystemClock() });
  return {
    node,
    hang: (method) => driver.fail(method, 'hang'),
    close: () => {
      node.close();
      driver.stop();
    },
  };
}

async function fake(): Promise<Opened> {
  const node = new FakeCsiNode({
    info: { nodeId: 'n-1', maxVolumes: 9, topology: { 'topology.test/zone': 'z' } },
    volumes: new Map([['vol', 1 << 20]]),
  });
  return { node, hang: (method) => node.hang(method), close: () => node.close() };
}

describe.each([
  ['fake', fake],
  ['real', real],
] as const)('CsiNode (%s)', (_, open) => {
  let base: string;
  let opened: Opened;
  let node: CsiNode;
  let stagingTargetPath: string;
  let targetPath: string;
  const context = { publishContext: { lun: '1' }, volumeContext: { a: 'b' }, secrets: { key: 'value' } };
  const stageRequest = (): StageRequest => ({ volumeId: 'vol', stagingTargetPath, capability: MOUNT, ...context });
  const publishRequest = (): PublishRequest => ({ ...stageRequest(), targetPath, readOnly: false });

  beforeEach(async () => {
    base = mkdtempSync(join(tmpdir(), 'dhcsi-'));
    stagingTargetPath = join(base, 'staging');
    targetPath = join(base, 'pod', 'mount');
    mkdirSync(stagingTargetPath);
    mkdirSync(join(base, 'pod'));
    opened = await open(base);
    node = opened.node;
  });

  afterEach(() => {
    opened.close();
    rmSync(base, { recursive: true, force: true });
  });

  it('tells of the node and of what it can do', async () => {
    expect(await node.info()).toEqual({ nodeId: 'n-1', maxVolumes: 9, topology: { 'topology.test/zone': 'z' } });
    expect([...(await node.capabilities())].sort()).toEqual([
      'EXPAND_VOLUME',
      'GET_VOLUME_STATS',
      'STAGE_UNSTAGE_VOLUME',
    ]);
  });

  it('stages, publishes and undoes both, each as often as it is asked to', async () => {
    for (let round = 0; round < 2; round++) await node.stage(stageRequest());
    for (let round = 0; round < 2; round++) await node.publish(publishRequest());
    for (let round = 0; round < 2; round++) await node.unpublish({ volumeId: 'vol', targetPath });
    for (let round = 0; round < 2; round++) await node.unstage({ volumeId: 'vol', stagingTargetPath });
  });

  it('refuses what comes in the wrong order', async () => {
    await expect(node.publish(publishRequest())).rejects.toMatchObject({ code: 'Conflict', metadata: { grpcCode: 9 } });
    await node.stage(stageRequest());
    const elsewhere = { ...stageRequest(), stagingTargetPath: base };
    await expect(node.stage(elsewhere)).rejects.toMatchObject({ code: 'AlreadyExists', metadata: { grpcCode: 6 } });
    await node.publish(publishRequest());
    await expect(node.unstage({ volumeId: 'vol', stagingTargetPath })).rejects.toMatchObject({ code: 'Conflict' });
  });

  it('does not know of other volumes', async () => {
    const refusal = { code: 'NotFound', metadata: { grpcCode: 5, runtimeMessage: 'there is no volume other' } };
    await expect(node.stage({ ...stageRequest(), volumeId: 'other' })).rejects.toMatchObject(refusal);
    await expect(node.unstage({ volumeId: 'other', stagingTargetPath })).resolves.toBeUndefined();
    await expect(node.unpublish({ volumeId: 'other', targetPath })).resolves.toBeUndefined();
  });

  it('grows a volume where it is, and tells how full it is', async () => {
    const request = { volumeId: 'vol', volumePath: targetPath, capability: MOUNT, requiredBytes: 3 << 20, secrets: {} };
    await expect(node.expand(request)).rejects.toMatchObject({ code: 'NotFound' });
    await node.stage(stageRequest());
    await node.publish(publishRequest());
    expect(await node.expand(request)).toBe(3 << 20);
    expect(await node.stats({ volumeId: 'vol', volumePath: targetPath })).toEqual({
      bytes: { total: 3 << 20, used: 4096, available: (3 << 20) - 4096 },
      inodes: { total: 100, used: 7, available: 93 },
    });
  });

  it('lets go of a call that its caller gives up', async () => {
    opened.hang('NodeStageVolume');
    const stop = new AbortController();
    const call = node.stage(stageRequest(), stop.signal);
    stop.abort();
    await expect(call).rejects.toMatchObject({ code: 'Aborted' });
  });
});

it('fails with DeadlineExceeded when a driver does not answer in time, and with Unavailable when none is there', async () => {
  const base = mkdtempSync(join(tmpdir(), 'dhcsi-'));
  const driver = new CsiDriver({ name: 'slow', rootDir: base, stateDir: join(base, 'state'), mounts: false });
  const metrics = new Metrics();
  const calls = new CsiMetrics(metrics);
  const node = new RealCsiNode(
    { endpoint: driver.socket, timeoutMs: 50 },
    { clock: new SystemClock(), called: (...call) => calls.record('slow', ...call) },
  );
  try {
    await expect(node.info()).rejects.toMatchObject({ code: 'Unavailable' });
    await driver.start(false);
    driver.fail('NodeGetInfo', 'hang');
    // The first call after a failed connection may still meet that failure.
    await waitFor('the driver to be asked', async () => {
      await expect(node.info()).rejects.toMatchObject({ code: 'DeadlineExceeded' });
      return true;
    });
    driver.heal('NodeGetInfo');
    await node.info();
    const counted = (await metrics.text())
      .split('\n')
      .filter((line) => line.startsWith('csi_operations_seconds_count'));
    const method = 'driver_name="slow",method_name="/csi.v1.Node/NodeGetInfo"';
    for (const code of ['Unavailable', 'DeadlineExceeded', 'OK']) {
      const labels = `{${method},grpc_status_code="${code}",migrated="false"}`;
      expect(counted.join('\n')).toContain(`csi_operations_seconds_count${labels} `);
    }
  } finally {
    node.close();
    driver.stop();
    rmSync(base, { recursive: true, force: true });
  }
});
