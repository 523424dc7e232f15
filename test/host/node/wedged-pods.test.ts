import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Pod } from '../../../src/model/pod.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerStatus, isReady, restartCount } from '../../harness/pod-summary.ts';
import { allPids, commandLine } from '../../harness/process-identity.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';
import { SilentFuse } from './support/silent-fuse.ts';

const NAME = 'deckhand-test-e2e-wedged';
/** More than the four threads that Node has for file calls. */
const HANGING = 6;

describe('pods that are stuck delay nobody else', () => {
  let node: HarnessNode;
  let pods: NodePods;
  const stopped: number[] = [];
  const fuses: SilentFuse[] = [];

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
  });

  afterAll(async () => {
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
    for (const fuse of fuses) await fuse.close();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  /** The shim that holds the pod's containers. */
  async function shimOf(pod: Pod): Promise<number> {
    const [sandbox = ''] = await pods.sandboxIds(pod);
    const shim = allPids().find((pid) => {
      const words = commandLine(pid);
      return words[0]?.endsWith('containerd-shim-runc-v2') && words.includes(sandbox);
    });
    if (shim === undefined) throw new Error(`no shim for sandbox ${sandbox}`);
    return shim;
  }

  it('starts, probes, restarts and deletes the others meanwhile', { timeout: 180_000 }, async () => {
    const live = web({
      livenessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1, failureThreshold: 2 },
    });
    await pods.create(podOf('watched', live));
    await pods.create(
      podOf('hook', sh(`echo up; ${STAY}`, { lifecycle: { preStop: { exec: { command: ['sleep', '600'] } } } }), {
        terminationGracePeriodSeconds: 600,
      }),
    );
    await pods.create(
      podOf('frozen-shim', sh(STAY, { livenessProbe: { exec: { command: ['true'] }, periodSeconds: 1 } })),
    );
    await pods.create(podOf('frozen-deleted', sh(STAY)));
    const [watched, , frozen, frozenDeleted] = await Promise.all(
      ['watched', 'hook', 'frozen-shim', 'frozen-deleted'].map((name) => pods.ready(name)),
    );
    if (watched === undefined || frozen === undefined || frozenDeleted === undefined) throw new Error('no pods');

    // Stuck: a preStop hook, runtimes that do not answer, file systems that do not answer, images that never come,
    // a ConfigMap that is not there.
    await pods.delete('hook');
    for (const pod of [frozen, frozenDeleted]) {
      const shim = await shimOf(pod);
      process.kill(shim, 'SIGSTOP');
      stopped.push(shim);
    }
    await pods.delete('frozen-deleted');
    for (let index = 0; index < HANGING; index++) {
      const fuse = await SilentFuse.mount(`${node.run.paths.libDir}/silent-${index}`);
      fuses.push(fuse);
      await pods.create(
        podOf(`hanging-${index}`, sh(STAY, { volumeMounts: [{ name: 'v', mountPath: '/v' }] }), {
          volumes: [{ name: 'v', hostPath: { path: `${fuse.path}/below`, type: 'Directory' } }],
        }),
      );
    }
    node.run.spawn(
      'silent-registry',
      [process.execPath, '--eval', "require('node:net').createServer(() => {}).listen(5999, '127.0.0.1')"],
      { netns: node.netns },
    );
    await waitFor('the silent registry', async () => {
      (await node.local.connect('127.0.0.1', 5999)).destroy();
      return true;
    });
    for (let index = 0; index < 3; index++) {
      await pods.create(podOf(`image-${index}`, sh(STAY, { image: `127.0.0.1:5999/never/${index}:1` })));
    }
    await pods.create(podOf('no-map', sh(STAY), { volumes: [{ name: 'c', configMap: { name: 'never-made' } }] }));
    await pods.untilEvent('image-0', 'Pulling');

    // The others.
    const started = performance.now();
    const names = [1, 2, 3, 4].map((number) => `free-${number}`);
    const startTimes = names.map(async (name) => {
      await pods.create(
        podOf(name, sh(`echo up; ${STAY}`), { volumes: [{ name: 'e', emptyDir: { medium: 'Memory' } }] }),
      );
      await pods.untilLog(await pods.ready(name), 'up');
      return performance.now() - started;
    });
    const sicken = async (): Promise<number> => {
      await node.local.request(`http://${watched.status?.podIP}:8080/cgi-bin/sicken`);
      const since = performance.now();
      await pods.until('watched', 'be restarted', (pod) => restartCount(pod) === 1 && isReady(pod));
      return performance.now() - since;
    };
    const [restartedMs, ...readyMs] = await Promise.all([sicken(), ...startTimes]);
    const deleting = performance.now();
    await Promise.all(names.map((name) => pods.delete(name)));
    await Promise.all(names.map((name) => pods.gone(name)));
    const goneMs = performance.now() - deleting;
    console.log(
      `beside stuck pods: ready after ${readyMs.map((ms) => ms.toFixed(0)).join(', ')} ms, ` +
        `liveness restart ${restartedMs?.toFixed(0)} ms, gone after ${goneMs.toFixed(0)} ms`,
    );
    for (const ms of [...readyMs, restartedMs ?? 0, goneMs]) expect(ms).toBeLessThan(15_000);

    // They really are stuck, and say so.
    expect(await pods.find('hook')).toBeDefined();
    expect(await pods.find('frozen-deleted')).toBeDefined();
    expect(containerStatus(await pods.get('image-0'), 'main')?.state?.waiting?.reason).toBe('ContainerCreating');
    expect((await pods.untilEvent('hanging-0', 'FailedMount')).message).toContain('does not answer');
    for (let index = 0; index < HANGING; index++) {
      expect((await pods.get(`hanging-${index}`)).status?.phase).toBe('Pending');
    }
  });

  it('a restarted agent is not held up by them either', { timeout: 120_000 }, async () => {
    const watched = await pods.ready('watched');
    await node.deckhand.kill();
    await node.deckhand.restart();
    await pods.create(podOf('after', sh(`echo up; ${STAY}`)));
    await pods.untilLog(await pods.ready('after', 20_000), 'up');
    expect(restartCount(await pods.get('watched'))).toBe(restartCount(watched));
  });

  it('goes on with them when they are free again', { timeout: 120_000 }, async () => {
    for (const pid of stopped.splice(0)) process.kill(pid, 'SIGCONT');
    await pods.gone('frozen-deleted');
    await pods.until('frozen-shim', 'be ready', isReady);
    expect(restartCount(await pods.get('frozen-shim'))).toBe(0);
    // A shorter grace given later ends a hook that hangs.
    await pods.delete('hook', 1);
    await pods.gone('hook');
    for (let index = 0; index < HANGING; index++) await pods.delete(`hanging-${index}`);
    await waitFor('the hanging pods to go', async () => (await pods.find('hanging-0')) === undefined, {
      timeoutMs: 60_000,
    });
  });
});
