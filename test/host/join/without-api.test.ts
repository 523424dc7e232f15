import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpApiClient } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import type { ApiClient } from '../../../src/cluster/port.ts';
import { SystemClock } from '../../../src/kit/clock.ts';
import type { PersistentVolume, PersistentVolumeClaim, Secret } from '../../../src/model/objects.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { Containerd } from '../../harness/containerd.ts';
import { deckhandBundle } from '../../harness/deckhand.ts';
import { openNetwork } from '../../harness/harness-node.ts';
import { HarnessRun, type StartedProcess } from '../../harness/harness-run.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, isReady } from '../../harness/pod-summary.ts';
import { SocketBridge } from '../../harness/socket-bridge.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { NODE_NAME, startEmbeddedApi } from '../../unit/standalone/embedded-api.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';

const NAME = 'deckhand-test-e2e-noapi';
const API_PORT = 16_444;
const NO_TOKEN = { automountServiceAccountToken: false };

/** The real binary, joined to an API server of another process that goes away and comes back. */
describe('a node whose API is away', () => {
  let run: HarnessRun;
  let netns: string;
  let containerd: Containerd;
  let embedded: Awaited<ReturnType<typeof startEmbeddedApi>>;
  let bridge: SocketBridge;
  let admin: ApiClient;
  let argv: string[];
  let manifests: string;
  let rootDir: string;
  let deckhand: StartedProcess;

  beforeAll(async () => {
    run = await HarnessRun.open(NAME);
    ({ netns } = await openNetwork(run));
    containerd = await Containerd.start(run, netns);
    embedded = await startEmbeddedApi();
    bridge = await SocketBridge.open(run, netns, Number(new URL(embedded.api.url).port), API_PORT);
    admin = new HttpApiClient(
      { connection: await loadKubeconfig(embedded.api.kubeconfigPath), qps: -1 },
      { clock: new SystemClock() },
    );
    const { libDir, cgroupRoot } = run.paths;
    rootDir = `${libDir}/kubelet`;
    manifests = `${libDir}/manifests`;
    mkdirSync(manifests);
    const kubeconfig = JSON.parse(readFileSync(embedded.api.kubeconfigPath, 'utf8'));
    kubeconfig.clusters[0].cluster.server = `https://127.0.0.1:${API_PORT}`;
    writeFileSync(`${libDir}/kubeconfig`, JSON.stringify(kubeconfig));
    const kubelet = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      podLogsDir: `${libDir}/logs`,
      containerRuntimeEndpoint: containerd.endpoint,
      cgroupRoot,
      staticPodPath: manifests,
      fileCheckFrequency: '2s',
      port: 20_251,
    };
    const own = { apiVersion: 'deckhand.dev/v1alpha1', kind: 'DeckhandConfiguration', checkpoint: { enabled: true } };
    writeFileSync(`${libDir}/config.yaml`, `${JSON.stringify(kubelet)}\n---\n${JSON.stringify(own)}\n`);
    argv = [
      process.execPath,
      ...[deckhandBundle(), 'run', '--config', `${libDir}/config.yaml`, '--root-dir', rootDir],
      ...['--kubeconfig', `${libDir}/kubeconfig`],
      ...['--hostname-override', NODE_NAME, '--node-ip', '192.0.2.1', '--cluster-cidr', '10.244.0.0/16'],
    ];
  });

  afterAll(async () => {
    await bridge?.close();
    admin?.close();
    await embedded?.close();
    await run?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const start = (): void => {
    deckhand = run.spawn('deckhand', argv, { netns });
  };
  const giveUp = (): Error | undefined =>
    deckhand.exitCode === undefined
      ? undefined
      : new Error(`deckhand ended with ${deckhand.exitCode}: ${readFileSync(deckhand.logFile, 'utf8').slice(-2000)}`);
  const get = (name: string): Promise<Pod> => admin.get<Pod>(resources.pods, { namespace: 'default', name });
  const ready = (name: string): Promise<Pod> =>
    waitFor(
      `pod ${name} to be ready`,
      async () => {
        const pod = await get(name).catch(() => undefined);
        return pod !== undefined && isReady(pod) ? pod : undefined;
      },
      { giveUp },
    );
  const write = (file: string, pod: Pod): void => {
    writeFileSync(join(manifests, `.${file}`), JSON.stringify(pod));
    renameSync(join(manifests, `.${file}`), join(manifests, file));
  };
  /** The running containers' ids by pod name. */
  const running = async (): Promise<Map<string, string>> => {
    const found = new Map<string, string>();
    const tasks = await containerd.ctr('tasks', 'list');
    for (const id of tasks.split('\n').flatMap((line) => /^([0-9a-f]{64}) .*RUNNING/.exec(line)?.[1] ?? [])) {
      const text = await containerd.ctr('containers', 'info', id).catch(() => '{"Labels":{}}');
      const { Labels: labels } = JSON.parse(text) as { Labels: Record<string, string> };
      const name = labels['io.kubernetes.pod.name'];
      if (name !== undefined && labels['io.cri-containerd.kind'] === 'container') found.set(name, id);
    }
    return found;
  };
  const runs = (name: string): Promise<string> =>
    waitFor(`a container of ${name}`, async () => (await running()).get(name), { giveUp });
  const away = (): void => {
    embedded.faults.add({ fault: { kind: 'reset' } });
  };
  const volumeFile = (uid: string): string =>
    readFileSync(`${rootDir}/pods/${uid}/volumes/kubernetes.io~secret/s/value`, 'utf8');
  const name = `own-${NODE_NAME}`;

  it('starts static pods without it, and shows them as soon as it is there', async () => {
    away();
    write('own.json', podOf('own', sh(STAY)));
    start();
    const id = await runs(name);
    embedded.faults.clear();
    const mirror = await ready(name);
    expect(containerId(mirror, 'main')).toContain(id);
    expect(mirror.metadata.annotations?.['kubernetes.io/config.mirror']).toMatch(/^[0-9a-f]{32}$/);
  });

  it('follows the files while it is away, over a restart too', async () => {
    const before = await runs(name);
    await run.stop(deckhand, 0);
    away();
    write('own.json', podOf('own', sh(`${STAY} # two`)));
    start();
    const after = await waitFor('the new version', async () => {
      const id = (await running()).get(name);
      return id !== undefined && id !== before ? id : undefined;
    });
    embedded.faults.clear();
    const mirror = await waitFor('the mirror pod of the new version', async () => {
      const pod = await get(name).catch(() => undefined);
      return pod !== undefined && containerId(pod, 'main')?.includes(after) === true ? pod : undefined;
    });
    expect(isReady(mirror)).toBe(true);
  });

  it('leaves the pods of the API alone until it has spoken', async () => {
    await admin.create(resources.pods, { namespace: 'default' }, podOf('left', sh(STAY), NO_TOKEN));
    await ready('left');
    const id = await runs('left');
    await run.stop(deckhand, 0);
    // Nobody but the API knows of it.
    mkdirSync(`${rootDir}/checkpoint`, { recursive: true });
    for (const file of ['pods', 'pods.previous']) writeFileSync(`${rootDir}/checkpoint/${file}`, 'spoiled');
    away();
    start();
    await pause(9000);
    expect((await running()).get('left')).toBe(id);
    embedded.faults.clear();
    await ready('left');
    expect((await running()).get('left')).toBe(id);
    await admin.delete(resources.pods, { namespace: 'default', name: 'left' }, { gracePeriodSeconds: 0 });
    await waitFor('it to end', async () => !(await running()).has('left'));
    expect(readFileSync(deckhand.logFile, 'utf8')).toContain('a checkpoint of the pods cannot be used');
  }, 60_000);

  it('starts the last known pods after a reboot, and lets the API have its word when it is back', async () => {
    const secret = (value: string): Partial<Secret> => ({ metadata: { name: 's' }, stringData: { value } });
    await admin.create(resources.secrets, { namespace: 'default' }, secret('one'));
    // A claim on a disk of this node, which its volume is tied to.
    const local = `${run.paths.libDir}/local`;
    mkdirSync(local);
    const here = { key: 'kubernetes.io/hostname', operator: 'In' as const, values: [NODE_NAME] };
    const size = { capacity: { storage: '1Mi' }, accessModes: ['ReadWriteOnce'], storageClassName: '' };
    await admin.create<PersistentVolume>(resources.persistentvolumes, {}, {
      metadata: { name: 'disk' },
      spec: {
        ...size,
        local: { path: local },
        claimRef: { namespace: 'default', name: 'data' },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } },
      },
    } as PersistentVolume);
    const { capacity: requests, ...claim } = size;
    await admin.create<PersistentVolumeClaim>(resources.persistentvolumeclaims, { namespace: 'default' }, {
      metadata: { name: 'data' },
      spec: { ...claim, volumeName: 'disk', resources: { requests } },
    } as PersistentVolumeClaim);
    const reader = sh(`test "$(cat /s/value)" = one || exit 1; echo >> /data/starts; ${STAY}`, {
      volumeMounts: [
        { name: 's', mountPath: '/s' },
        { name: 'data', mountPath: '/data' },
      ],
      env: [{ name: 'FROM', valueFrom: { secretKeyRef: { name: 's', key: 'value' } } }],
    });
    const volumes = [
      { name: 's', secret: { secretName: 's' } },
      { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
    ];
    const spec = { ...NO_TOKEN, volumes };
    for (const pod of [podOf('stays', reader, spec), podOf('goes', sh(STAY), NO_TOKEN)]) {
      await admin.create(resources.pods, { namespace: 'default' }, pod);
    }
    const [stays] = await Promise.all([ready('stays'), ready('goes')]);
    const uid = stays.metadata.uid ?? '';
    const file = `${rootDir}/checkpoint/pods`;
    const written = statSync(file).mtimeMs;
    await waitFor(
      'the checkpoint to have them',
      () => statSync(file).mtimeMs > written && Date.now() - statSync(file).mtimeMs > 3000,
      {
        timeoutMs: 40_000,
      },
    );
    expect(readFileSync(file, 'latin1')).not.toContain(uid);

    await run.stop(deckhand, 0);
    const tasks = await containerd.ctr('tasks', 'list', '--quiet');
    for (const task of tasks.trim().split('\n'))
      await containerd.ctr('tasks', 'kill', '--signal', 'SIGKILL', task).catch(() => '');
    await waitFor('nothing to run', async () => (await running()).size === 0);
    await admin.delete(resources.pods, { namespace: 'default', name: 'goes' }, { gracePeriodSeconds: 0 });
    await admin.patch(
      resources.secrets,
      { namespace: 'default', name: 's' },
      { stringData: { value: 'two' } },
      'merge',
    );
    away();

    start();
    const id = await runs('stays');
    await runs('goes');
    await runs(name);
    expect(volumeFile(uid)).toBe('one');
    await waitFor('it to write to its claim', () => readFileSync(`${local}/starts`, 'utf8') === '\n\n');
    expect(readFileSync(deckhand.logFile, 'utf8')).toContain('starting the last known pods');

    embedded.faults.clear();
    await waitFor('the status of the container that runs now', async () => {
      const pod = await get('stays').catch(() => undefined);
      return pod !== undefined && isReady(pod) && containerId(pod, 'main')?.includes(id) === true;
    });
    await waitFor('the pod that was deleted meanwhile to end', async () => !(await running()).has('goes'));
    await waitFor('the new content', () => volumeFile(uid) === 'two');
    expect((await running()).get('stays')).toBe(id);
  }, 120_000);
});
