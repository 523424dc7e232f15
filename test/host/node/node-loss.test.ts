import { existsSync, readdirSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { cgroupDirectories, pidsIn, removeDirectories } from '../../harness/cgroup-hierarchies.ts';
import { processesOf } from '../../harness/cleanup.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { unmountBelow } from '../../harness/mounts.ts';
import { containerStatus, isReady, restartCount } from '../../harness/pod-summary.ts';
import { commandLine, endProcesses } from '../../harness/process-identity.ts';
import { runCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { addressOf, kernelRules, loseRules, missingFrom, rulesLeadingTo } from './support/kernel-rules.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-loss';
const LIVING = ['web-1', 'web-2', 'with-init'];

describe('a node that loses what is in memory, or what is on disk', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let url: string;

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
    await node.deckhand.api.create<Service>(resources.services, {
      metadata: { name: 'web', namespace: 'default' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    for (const name of ['web-1', 'web-2']) await pods.create(podOf(name, web(), {}, { labels: { app: 'web' } }));
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    await pods.create(
      podOf('with-init', sh(STAY, mount), {
        initContainers: [sh('echo init >> /work/log', { name: 'init', ...mount })],
        volumes: [{ name: 'work', emptyDir: {} }],
      }),
    );
    await pods.create(
      podOf('done', sh('echo ran >> /work/log', mount), {
        restartPolicy: 'OnFailure',
        volumes: [{ name: 'work', hostPath: { path: `${node.run.paths.libDir}/done`, type: 'DirectoryOrCreate' } }],
      }),
    );
    await pods.create(podOf('failed', sh('exit 3'), { restartPolicy: 'Never' }));
    await Promise.all(LIVING.map((name) => pods.ready(name)));
    await Promise.all([pods.phase('done', 'Succeeded'), pods.phase('failed', 'Failed')]);
    const { spec } = await node.deckhand.api.get<Service>(resources.services, 'default', 'web');
    url = `http://${spec?.clusterIP}/`;
    await rulesLeadingTo(node, 'default/web', 2);
    await waitFor('the Service to answer', async () => (await node.local.request(url)).status === 200);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  /** What a reboot takes: processes, mounts, cgroups, rules, devices, and all of /run. */
  async function losePower(): Promise<void> {
    const { runDir, cgroupRoot } = node.run.paths;
    await node.deckhand.kill();
    await node.containerd.kill();
    const inCgroups = new Set(pidsIn(cgroupDirectories(cgroupRoot)));
    const ours = processesOf(NAME).filter(
      ({ pid }) => inCgroups.has(pid) || commandLine(pid)[0]?.endsWith('containerd-shim-runc-v2'),
    );
    await endProcesses(ours, 0);
    for (const directory of [`${runDir}/state`, `${runDir}/runc`]) {
      await unmountBelow(directory);
      rmSync(directory, { recursive: true, force: true });
    }
    await unmountBelow(`${node.run.paths.libDir}/kubelet`);
    await waitFor('the cgroups to go', () => removeDirectories(cgroupDirectories(cgroupRoot)).length === 0);
    await loseRules(node);
    await runCommand(['ip', '-n', node.netns, 'link', 'del', 'cni0']);
  }

  it('a reboot: everything comes up again, and what had ended stays so', { timeout: 120_000 }, async () => {
    const before = await Promise.all(LIVING.map((name) => pods.get(name)));
    await losePower();
    expect([...(await kernelRules(node))]).toEqual([]);

    const since = performance.now();
    await node.containerd.restart();
    await node.deckhand.restart();
    await Promise.all(
      LIVING.map((name) =>
        pods.until(name, 'be ready in a new container', (pod) => isReady(pod) && restartCount(pod) === 1),
      ),
    );
    await waitFor('the Service to answer', async () => (await node.local.request(url)).status === 200);
    console.log(`all up ${((performance.now() - since) / 1000).toFixed(1)} s after power came back`);
    const after = await Promise.all(LIVING.map((name) => pods.get(name)));
    for (const [index, pod] of after.entries()) {
      expect(pod.metadata.uid).toBe(before[index]?.metadata.uid);
      expect(containerStatus(pod, pod.spec.containers[0]?.name ?? '')?.lastState?.terminated).toBeDefined();
    }
    const answers = new Set<string>();
    for (let count = 0; count < 40; count++) answers.add((await node.local.request(url)).body.trim());
    expect([...answers].sort()).toEqual(['web-1', 'web-2']);

    expect((await pods.get('done')).status?.phase).toBe('Succeeded');
    expect((await pods.get('failed')).status?.phase).toBe('Failed');
    expect(containerStatus(await pods.get('failed'), 'main')?.state?.terminated?.exitCode).toBe(3);
    expect(readdirSync(`${node.run.paths.libDir}/done`)).toEqual(['log']);
    expect((await runCommand(['cat', `${node.run.paths.libDir}/done/log`])).trim()).toBe('ran');
  });

  it('deleting after a reboot leaves nothing of either life', { timeout: 60_000 }, async () => {
    const pod = await pods.get('with-init');
    const log = `${node.run.paths.libDir}/logs/default_with-init_${pod.metadata.uid}`;
    expect(existsSync(log)).toBe(true);
    await pods.delete('with-init');
    await pods.gone('with-init');
    await waitFor('its sandboxes to go', async () => (await pods.sandboxIds(pod)).length === 0);
    await waitFor(
      'its directories to go',
      () => !existsSync(log) && !pods.podDirectories().includes(pod.metadata.uid ?? ''),
    );
    expect(pods.podCgroupPath(pod)).toBeUndefined();
  });

  it('a lost data directory: what nobody wants any more is ended and removed', { timeout: 120_000 }, async () => {
    const rules = await rulesLeadingTo(node, 'default/web', 2);
    const address = await addressOf(node, 'default/web');
    await node.deckhand.kill();
    rmSync(node.deckhand.dataDir, { recursive: true });
    await node.deckhand.restart();
    const fresh = new NodePods(node);
    await waitFor(
      'the containers of the old pods to go',
      async () => (await node.containerd.ctr('containers', 'list', '--quiet')).trim() === '',
      { timeoutMs: 60_000 },
    );
    await waitFor('their directories to go', () => fresh.podDirectories().length === 0, { timeoutMs: 60_000 });
    await waitFor('their logs to go', () => readdirSync(`${node.run.paths.libDir}/logs`).length === 0, {
      timeoutMs: 60_000,
    });
    await waitFor('the rules of the old Service to go', async () => {
      return ![...(await kernelRules(node))].some((rule) => rule.includes(`${address} . `));
    });
    // The frame of chains stays: nothing but the Service's own rules went.
    expect(
      missingFrom(await kernelRules(node), rules).filter((rule) => /^chain/.test(rule) && !/^chain vip/.test(rule)),
    ).toEqual([]);
  });
});
