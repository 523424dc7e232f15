import { mkdirSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { isReady, restartCount } from '../../harness/pod-summary.ts';
import { RequestStream } from '../../harness/request-stream.ts';
import { runCommand } from '../../harness/run-command.ts';
import { pathsOf } from '../../harness/run-record.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';
import { fingerprints } from './support/stable-pods.ts';

const NAME = 'deckhand-test-e2e-root';
const ROOT = `${pathsOf(NAME).libDir}/kubelet`;
const FILLER = `${ROOT}/filler`;
const STABLE = ['web-1', 'web-2'];
/** Files by which this process, or a later one, remembers; garbage in them may not stop a node. */
const REMEMBERED = [
  'allocated_pods_state',
  'actuated_pods_state',
  'cpu_manager_state',
  'memory_manager_state',
  'graceful_node_shutdown_state',
  'device-plugins/kubelet_internal_checkpoint',
  'image_manager/pulling/sha256-0000',
  'image_manager/pulled/sha256-0000',
];

describe('a root directory that fails', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let before: string[];
  let url: string;
  let stream: RequestStream;

  beforeAll(async () => {
    node = await startNode(NAME, {
      beforeDeckhand: async () => {
        mkdirSync(ROOT, { recursive: true });
        await runCommand(['mount', '-t', 'tmpfs', '-o', 'size=4m,mode=750', 'small', ROOT]);
      },
      // What a full disk means for admission and eviction is asked elsewhere.
      deckhand: { args: ['--eviction-hard', 'memory.available<1Mi'] },
    });
    pods = new NodePods(node);
    await node.deckhand.api.create<Service>(resources.services, {
      metadata: { name: 'web', namespace: 'default' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    await map('settings', 'one');
    const mounted = web({
      volumeMounts: [{ name: 'settings', mountPath: '/settings' }],
      livenessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1 },
    });
    const volumes = [{ name: 'settings', configMap: { name: 'settings' } }];
    for (const name of STABLE) await pods.create(podOf(name, mounted, { volumes }, { labels: { app: 'web' } }));
    await Promise.all(STABLE.map((name) => pods.ready(name)));
    const { spec } = await node.deckhand.api.get<Service>(resources.services, 'default', 'web');
    url = `http://${spec?.clusterIP}/`;
    await waitFor('the Service to answer', async () => (await node.local.request(url)).status === 200);
    before = await fingerprints(pods, STABLE);
    stream = new RequestStream(node.local, url, 10, 2);
  });

  afterEach(async () => {
    await runCommand(['mount', '-o', 'remount,rw', ROOT]);
    rmSync(FILLER, { force: true });
  });

  afterAll(async () => {
    await stream?.stop();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const map = (name: string, text: string): Promise<ConfigMap> =>
    node.deckhand.api.create<ConfigMap>(resources.configmaps, {
      metadata: { name, namespace: 'default' },
      data: { text },
    });

  /** Pods that ran before run on as they did, and their clients have noticed nothing. */
  async function untouched(): Promise<void> {
    expect(await fingerprints(pods, STABLE)).toEqual(before);
    expect(stream.failures).toEqual([]);
  }

  /** A pod that ends within its grace, whatever becomes of its directory. */
  const reader = (name: string) =>
    podOf(name, sh(STAY, { volumeMounts: [{ name: 'big', mountPath: '/big' }] }), {
      volumes: [{ name: 'big', configMap: { name: 'big' } }],
    });

  it('full: says so of the pod that needs room, and goes on with it when there is some', {
    timeout: 120_000,
  }, async () => {
    await map('big', 'x'.repeat(100_000));
    await pods.create(podOf('crashes', sh(STAY)));
    const crashes = await pods.ready('crashes');
    await pods.create(podOf('goes', sh(STAY)));
    await pods.ready('goes');
    fill();

    await pods.create(reader('needs-room'));
    const event = await pods.untilEvent('needs-room', 'FailedMount');
    expect(event.message).toMatch(/ENOSPC|no space/i);
    expect((await pods.get('needs-room')).status?.phase).toBe('Pending');
    // What needs no room works: probes, deletions, the restart of a container.
    await pods.delete('goes');
    await pods.gone('goes', 20_000);
    process.kill(await pods.pid(crashes), 'SIGKILL');
    await pods.until('crashes', 'run again', (pod) => isReady(pod) && restartCount(pod) === 1);
    await untouched();

    rmSync(FILLER);
    await pods.ready('needs-room', 30_000);
    expect(await pods.file(await pods.get('needs-room'), '/big/text')).toHaveLength(100_000);
    await pods.delete('crashes');
    await pods.gone('crashes');
  });

  it('full: contents that change stay whole, old or new', { timeout: 60_000 }, async () => {
    const [stable = ''] = STABLE;
    const shown = async (): Promise<string> => pods.file(await pods.get(stable), '/settings/text', 'web');
    expect(await shown()).toBe('one');
    fill();
    const text = 'y'.repeat(50_000);
    await node.deckhand.api.mergePatch(resources.configmaps, 'default', 'settings', { data: { text } });
    const event = await pods.untilEvent(stable, 'FailedMount');
    expect(event.message).toMatch(/ENOSPC|no space/i);
    expect(await shown()).toBe('one');
    await untouched();
    rmSync(FILLER);
    await waitFor('the new content', async () => (await shown()) === text, { timeoutMs: 30_000 });
  });

  it('read-only: what runs goes on, what is new says why not, all is well when it can be written again', {
    timeout: 120_000,
  }, async () => {
    await pods.create(podOf('ends', sh(STAY)));
    await pods.ready('ends');
    await runCommand(['mount', '-o', 'remount,ro', ROOT]);
    await pods.create(podOf('new', sh(STAY)));
    const said = await waitFor('the new pod to say why not', async () => {
      return (await pods.events('new')).find(({ message }) => /EROFS|read-only/i.test(message ?? ''));
    });
    expect(said.type).toBe('Warning');
    await pods.delete('ends');
    await waitFor('its processes to end', async () => {
      const pod = await pods.find('ends');
      return pod === undefined || pods.processes(pod).length === 0;
    });
    await untouched();
    // A restart in the middle of it takes over what runs.
    await node.deckhand.kill();
    await node.deckhand.restart();
    await waitFor('a heartbeat', async () => (await pods.get('new')).status?.phase === 'Pending');
    await untouched();

    await runCommand(['mount', '-o', 'remount,rw', ROOT]);
    await pods.ready('new', 30_000);
    await pods.gone('ends', 30_000);
    await waitFor('its directory to go', () => readdirSync(`${ROOT}/pods`).length === STABLE.length + 2);
    await untouched();
  });

  it.each([
    ['garbage', (path: string): void => writeFileSync(path, Buffer.from([0, 255, 123, 34, 10]))],
    ['half of what was in it', (path: string): void => writeFileSync(path, '{"version":1,"data":{"a')],
    ['a directory in its place', (path: string): void => void mkdirSync(`${path}/x`, { recursive: true })],
  ])(
    'what it remembers by is %s: it starts, keeps what runs, and starts more',
    { timeout: 60_000 },
    async (_, spoil) => {
      await node.deckhand.stop();
      for (const file of new Set([...REMEMBERED, ...stateFiles()])) {
        rmSync(`${ROOT}/${file}`, { recursive: true, force: true });
        mkdirSync(join(`${ROOT}/${file}`, '..'), { recursive: true });
        spoil(`${ROOT}/${file}`);
      }
      await node.deckhand.restart();
      const name = `after-${Math.round(performance.now())}`;
      await pods.create(podOf(name, sh(STAY)));
      await pods.ready(name);
      await untouched();
      await pods.delete(name);
      await pods.gone(name);
    },
  );

  function fill(): void {
    const { bavail, bsize } = statfsSync(ROOT);
    writeFileSync(FILLER, Buffer.alloc(bavail * bsize));
  }
});

/** Every file of the root directory that belongs to no pod. */
function stateFiles(): string[] {
  return readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter((name) => {
    return !/^(pods|plugins|pki)(\/|$)/.test(name) && statSync(`${ROOT}/${name}`).isFile();
  });
}
