import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RealCsiNode } from '../../../../src/host/csi/real.ts';
import { RealPluginRegistration } from '../../../../src/host/csi/real-registration.ts';
import { RealFiles } from '../../../../src/host/files/real.ts';
import { RemoteGuard } from '../../../../src/host/files/remote-guard.ts';
import { RealMounts } from '../../../../src/host/mount/real.ts';
import { watchDirectory } from '../../../../src/host/watch/real.ts';
import { SystemClock } from '../../../../src/kit/clock.ts';
import { silent } from '../../../../src/kit/log.ts';
import type { Node } from '../../../../src/model/node.ts';
import { resources } from '../../../../src/model/resource.ts';
import type { CSINode } from '../../../../src/model/storage.ts';
import { CsiDriverRegistry } from '../../../../src/node/plugins/csi-driver-registry.ts';
import { CsiNodeWriter } from '../../../../src/node/plugins/csi-node-writer.ts';
import { PluginWatcher } from '../../../../src/node/plugins/plugin-watcher.ts';
import { CsiDriver, type CsiDriverOptions } from '../../../harness/csi/csi-driver.ts';
import { waitFor } from '../../../harness/wait-for.ts';
import { MemoryApi } from '../../cluster/memory-api.ts';

const clock = new SystemClock();
const mounts = new RealMounts({}, { clock });
const drivers: CsiDriver[] = [];
let base: string;
let api: MemoryApi;
let registry: CsiDriverRegistry;
let stop: AbortController;
let running: Promise<void>;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'dhplug-'));
  api = new MemoryApi();
  api.put<Node>(resources.nodes, { metadata: { name: 'n', uid: 'node-uid' } });
  stop = new AbortController();
  const writer = new CsiNodeWriter({ nodeName: 'n' }, { api, clock, log: silent });
  registry = new CsiDriverRegistry({
    open: (endpoint) => new RealCsiNode({ endpoint }, { clock }),
    cluster: writer,
    log: silent,
  });
  running = new PluginWatcher(
    { directory: `${base}/plugins_registry` },
    {
      files: new RealFiles({ guard: new RemoteGuard({}, { mounts, clock }) }),
      watch: watchDirectory,
      registration: new RealPluginRegistration({ clock }),
      handlers: { CSIPlugin: registry },
      clock,
      log: silent,
    },
  ).run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  for (const driver of drivers.splice(0)) driver.stop();
  await running;
  registry.close();
  rmSync(base, { recursive: true, force: true });
});

function driverOf(name: string, options: Partial<CsiDriverOptions> = {}): CsiDriver {
  const driver = new CsiDriver({ name, rootDir: base, stateDir: join(base, name), mounts: false, ...options });
  drivers.push(driver);
  return driver;
}

const csiNode = (): CSINode | undefined => api.find<CSINode>(resources.csinodes, 'n');
const names = (): string[] => (csiNode()?.spec.drivers ?? []).map(({ name }) => name);

test('a driver registers, and its end is told', async () => {
  const driver = driverOf('a.test', { maxVolumes: 4, topology: { 'topology.test/zone': 'z' } });
  await driver.start();
  await waitFor('registration', () => driver.statuses.length > 0);
  expect(driver.statuses).toEqual([{ registered: true, error: '' }]);
  expect(registry.names()).toEqual(['a.test']);
  expect(csiNode()).toMatchObject({
    metadata: { ownerReferences: [{ kind: 'Node', name: 'n', uid: 'node-uid' }] },
    spec: {
      drivers: [
        { name: 'a.test', nodeID: 'csi-node', topologyKeys: ['topology.test/zone'], allocatable: { count: 4 } },
      ],
    },
  });
  const node = api.find<Node>(resources.nodes, 'n');
  expect(node?.metadata.labels).toEqual({ 'topology.test/zone': 'z' });
  expect(node?.metadata.annotations).toEqual({ 'csi.volume.kubernetes.io/nodeid': '{"a.test":"csi-node"}' });
  driver.stop();
  await waitFor('deregistration', () => names().length === 0);
  expect(registry.names()).toEqual([]);
  await waitFor('the annotation to go', () => {
    const { annotations } = api.find<Node>(resources.nodes, 'n')?.metadata ?? {};
    return annotations?.['csi.volume.kubernetes.io/nodeid'] === undefined;
  });
});

test('a socket that was made anew is another plugin, whichever inode it got', async () => {
  const driver = driverOf('a.test');
  await driver.start();
  await waitFor('registration', () => driver.statuses.length === 1);
  driver.crash();
  await driver.start();
  await waitFor('second registration', () => driver.statuses.length === 2);
  expect(driver.statuses[1]).toEqual({ registered: true, error: '' });
});

test('a plugin that cannot be taken hears why, and is asked again', async () => {
  const driver = driverOf('old.test');
  driver.versions = ['0.3.0'];
  await driver.start();
  await waitFor('a refusal', () => driver.statuses.length > 0);
  expect(driver.statuses[0]).toEqual({
    registered: false,
    error:
      `RegisterPlugin error -- plugin validation failed with err: CSI driver "old.test" at endpoint ${driver.socket}: ` +
      'none of the versions specified ["0.3.0"] are supported; version 1 is',
  });
  driver.versions = ['0.3.0', '1.2.0'];
  await waitFor('registration', () => driver.statuses.some(({ registered }) => registered));
});

test('a plugin that hangs holds up no other', async () => {
  const hanging = driverOf('hanging.test');
  hanging.fail('GetInfo', 'hang');
  await hanging.start();
  await waitFor('the question', () => hanging.calls.length > 0);
  const good = driverOf('good.test');
  await good.start();
  await waitFor('registration', () => names().includes('good.test'));
  expect(names()).toEqual(['good.test']);
});

test('a driver that is elsewhere than the Node says is refused', async () => {
  api.put<Node>(resources.nodes, { metadata: { name: 'n', uid: 'node-uid', labels: { zone: 'a' } } });
  const driver = driverOf('b.test', { topology: { zone: 'b' } });
  await driver.start();
  await waitFor('a refusal', () => driver.statuses.length > 0);
  expect(driver.statuses[0]?.error).toContain(
    'detected topology value collision: driver reported "zone":"b" but existing label is "zone":"a"',
  );
  expect(names()).toEqual([]);
});

test("another machine's CSINode of the name is replaced", async () => {
  api.put<CSINode>(resources.csinodes, {
    metadata: { name: 'n', ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'n', uid: 'another' }] },
    spec: { drivers: [{ name: 'gone.test', nodeID: 'x' }] },
  });
  await driverOf('a.test').start();
  await waitFor('registration', () => names().includes('a.test'));
  expect(names()).toEqual(['a.test']);
  expect(csiNode()?.metadata.ownerReferences?.[0]?.uid).toBe('node-uid');
});

test('a newer driver of a name takes over, and stays when the old socket goes', async () => {
  const old = driverOf('a.test', { nodeId: 'same' });
  await old.start();
  await waitFor('registration', () => old.statuses.length === 1);
  const newer = new CsiDriver({
    name: 'a.test',
    rootDir: join(base, 'next'),
    stateDir: join(base, 'next-state'),
    nodeId: 'same',
    mounts: false,
  });
  drivers.push(newer);
  newer.versions = ['1.1.0'];
  await newer.start();
  renameSync(newer.registrationSocket, `${base}/plugins_registry/a.test-next-reg.sock`);
  await waitFor('the newer one', () => newer.statuses.length === 1);
  expect(newer.statuses).toEqual([{ registered: true, error: '' }]);
  old.stop();
  await expect(registry.get('a.test')?.info()).resolves.toMatchObject({ nodeId: 'same' });
  expect(names()).toEqual(['a.test']);
});
