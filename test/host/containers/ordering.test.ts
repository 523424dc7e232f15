import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Container, Pod } from '../../../src/model/pod.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, containerStatus, isReady } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-containers-order';
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

const MOUNT = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
const note = (what: string): string => `echo ${what} >> /work/log`;
const exec = (script: string) => ({ exec: { command: ['sh', '-c', script] } });
/** Notes its start and its SIGTERM, and ends `seconds` after that. */
const member = (name: string, more: Partial<Container> = {}, seconds = 0): Container =>
  sh(
    `trap '${note(`term-${name}`)}; sleep ${seconds}; exit 0' TERM; ${note(`up-${name}`)}; while :; do sleep 1000 & wait $!; done`,
    { name, ...MOUNT, ...more },
  );
const sidecar = (name: string, more: Partial<Container> = {}, seconds = 0): Container =>
  member(name, { restartPolicy: 'Always', ...more }, seconds);
const preStop = (name: string, script = 'true') => ({
  preStop: exec(`${note(`hook-${name}`)}; ${script}; ${note(`hooked-${name}`)}`),
});

describe('the order of containers', () => {
  let node: HarnessNode;
  let pods: NodePods;

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  /** A folder of the host's outlives the pod, so that its end can be read. */
  const work = (name: string) => ({
    volumes: [
      { name: 'work', hostPath: { path: `${node.run.paths.libDir}/${name}`, type: 'DirectoryOrCreate' as const } },
    ],
  });
  const lines = (name: string): string[] => {
    const path = `${node.run.paths.libDir}/${name}/log`;
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  };
  const ended = async (name: string, graceSeconds?: number): Promise<{ log: string[]; ms: number }> => {
    const before = lines(name).length;
    const since = performance.now();
    await pods.delete(name, graceSeconds);
    await pods.gone(name);
    return { log: lines(name).slice(before), ms: performance.now() - since };
  };

  it.concurrent('start: init containers and sidecars one by one, each when the one before is up; then the app', async () => {
    await pods.create(
      podOf(
        'start',
        [
          // The postStart hook of one holds back those behind it.
          member('app1', { lifecycle: { postStart: exec(`sleep 1; ${note('post-app1')}`) } }),
          member('app2'),
        ],
        {
          initContainers: [
            sh(note('init1'), { name: 'init1', ...MOUNT }),
            sidecar('side1', {
              lifecycle: { postStart: exec(`sleep 1; ${note('post-side1')}`) },
              startupProbe: {
                ...exec(`[ -e /work/go ] && ${note('probed-side1')}`),
                periodSeconds: 1,
                failureThreshold: 60,
              },
            }),
            sh(note('init2'), { name: 'init2', ...MOUNT }),
            sidecar('side2', { readinessProbe: { ...exec('false'), periodSeconds: 1 } }),
          ],
          ...work('start'),
        },
      ),
    );
    const waiting = await pods.until('start', 'have its first sidecar running', (pod) => {
      return containerStatus(pod, 'side1')?.state?.running !== undefined && pod;
    });
    expect(containerStatus(waiting, 'side1')?.started).toBe(false);
    expect(containerStatus(waiting, 'init2')?.state?.waiting?.reason).toBe('PodInitializing');
    expect(waiting.status?.phase).toBe('Pending');
    expect(lines('start')).toEqual(['init1', 'up-side1', 'post-side1']);
    writeGo('start');
    const pod = await pods.until('start', 'have everything running', (found) => {
      return ['app1', 'app2'].every((name) => containerStatus(found, name)?.state?.running !== undefined) && found;
    });
    expect(lines('start')).toEqual([
      ...['init1', 'up-side1', 'post-side1', 'probed-side1', 'init2', 'up-side2', 'up-app1', 'post-app1', 'up-app2'],
    ]);
    // A sidecar need not be ready for those behind it, but the pod is not without it.
    expect(pod.status?.phase).toBe('Running');
    expect(isReady(pod)).toBe(false);
    expect(pod.status?.conditions?.find(({ type }) => type === 'ContainersReady')?.message).toContain('[side2]');
    await pods.delete('start', 1);
  });

  it.concurrent('stop: all preStop hooks at once, then the app, then sidecars from the last to the first', async () => {
    await pods.create(
      podOf('stop', [member('app1', { lifecycle: preStop('app1', 'sleep 2') }, 1), member('app2')], {
        terminationGracePeriodSeconds: 30,
        initContainers: [
          sidecar('side1', { lifecycle: preStop('side1') }),
          sidecar('side2', { lifecycle: preStop('side2') }, 1),
          sidecar('side3'),
        ],
        ...work('stop'),
      }),
    );
    await pods.ready('stop');
    await waitFor('all to be up', () => lines('stop').length === 5);
    const { log, ms } = await ended('stop');
    const at = (what: string): number => {
      const index = log.indexOf(what);
      expect(index, `${what} in ${log.join(' ')}`).toBeGreaterThanOrEqual(0);
      return index;
    };
    // The hooks of sidecars have run before the app's hook was over; none of them waits for its turn.
    for (const name of ['side1', 'side2']) expect(at(`hooked-${name}`)).toBeLessThan(at('hooked-app1'));
    expect(at('term-app2')).toBeLessThan(at('hooked-app1'));
    expect(at('hooked-app1')).toBeLessThan(at('term-app1'));
    expect(log.slice(at('term-app1'))).toEqual(['term-app1', 'term-side3', 'term-side2', 'term-side1']);
    expect(ms).toBeLessThan(25_000);
  });

  it.concurrent('stop: one grace period for all; who had no turn gets what is left, at least two seconds', async () => {
    const stubborn = sh(`trap '${note('term-app')}' TERM; ${note('up-app')}; while :; do sleep 0.1; done`, {
      name: 'app',
      ...MOUNT,
    });
    await pods.create(
      podOf('grace', stubborn, {
        terminationGracePeriodSeconds: 4,
        initContainers: [sidecar('side1'), sidecar('side2', { lifecycle: preStop('side2', 'sleep 600') })],
        ...work('grace'),
      }),
    );
    await pods.ready('grace');
    await waitFor('all to be up', () => lines('grace').length === 3);
    const { log, ms } = await ended('grace');
    expect(log.slice(0, 2).sort()).toEqual(['hook-side2', 'term-app']);
    expect(log.slice(2).sort()).toEqual(['term-side1', 'term-side2']);
    expect(ms).toBeGreaterThan(3_500);
    expect(ms).toBeLessThan(4_000 + 2_000 + 8_000);
  });

  it.concurrent('stop: a grace period that is cut short counts for hooks and turns, too', async () => {
    await pods.create(
      podOf('shortened', member('app', { lifecycle: preStop('app', 'sleep 600') }), {
        terminationGracePeriodSeconds: 600,
        initContainers: [sidecar('side')],
        ...work('shortened'),
      }),
    );
    await pods.ready('shortened');
    await waitFor('all to be up', () => lines('shortened').length === 2);
    await pods.delete('shortened');
    await waitFor('the hook to begin', () => lines('shortened').includes('hook-app'));
    const { log, ms } = await ended('shortened', 2);
    // Past the deadline nobody waits for a turn.
    expect([...log].sort()).toEqual(['term-app', 'term-side']);
    expect(ms).toBeLessThan(20_000);
  });

  it.concurrent('a finished pod ends its sidecars in reverse order, with their hooks, whatever their exit codes', async () => {
    await pods.create(
      podOf('finished', sh(`${note('app')}; sleep 1`, { name: 'app', ...MOUNT }), {
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 10,
        initContainers: [
          sidecar('side1'),
          // Ends late, so that it is seen that the one before waits for its turn.
          sh(`trap '${note('term-side2')}; exit 9' TERM; ${note('up-side2')}; while :; do sleep 1000 & wait $!; done`, {
            name: 'side2',
            restartPolicy: 'Always',
            lifecycle: preStop('side2', 'sleep 1'),
            ...MOUNT,
          }),
        ],
        ...work('finished'),
      }),
    );
    const pod = await pods.phase('finished', 'Succeeded');
    const log = lines('finished');
    expect(log.slice(0, 3)).toEqual(['up-side1', 'up-side2', 'app']);
    expect(log.filter((line) => line.startsWith('term'))).toEqual(['term-side2', 'term-side1']);
    expect(log.indexOf('hooked-side2')).toBeLessThan(log.indexOf('term-side2'));
    expect(containerStatus(pod, 'side2')?.state?.terminated?.exitCode).toBe(9);
    expect(containerStatus(pod, 'side2')?.restartCount).toBe(0);
  });

  it.concurrent('restart: a sidecar that dies or fails its liveness comes back, and nobody else is touched', async () => {
    const restarted = (pod: Pod, name: string): boolean => {
      const status = containerStatus(pod, name);
      return status?.restartCount === 1 && status.state?.running !== undefined;
    };
    await pods.create(
      podOf('restart', member('app'), {
        restartPolicy: 'Never',
        initContainers: [
          sidecar('dies'),
          sidecar('sick', {
            lifecycle: preStop('sick'),
            livenessProbe: {
              ...exec('! [ -e /work/sick ] || { rm /work/sick; false; }'),
              periodSeconds: 1,
              failureThreshold: 1,
            },
          }),
          sh(note('init'), { name: 'init', ...MOUNT }),
        ],
        ...work('restart'),
      }),
    );
    const before = await pods.ready('restart');
    await node.containerd.ctr('tasks', 'kill', '--signal', 'SIGKILL', containerId(before, 'dies'));
    await pods.until('restart', 'have the dead sidecar back', (pod) => restarted(pod, 'dies'));
    writeGo('restart', 'sick');
    const after = await pods.until('restart', 'have the sick sidecar back', (pod) => restarted(pod, 'sick') && pod);
    expect(containerId(after, 'app')).toBe(containerId(before, 'app'));
    expect(containerStatus(after, 'init')?.restartCount).toBe(0);
    expect(after.status?.phase).toBe('Running');
    const log = lines('restart');
    expect(log.filter((line) => line === 'init')).toHaveLength(1);
    expect(log.slice(log.indexOf('hook-sick'))).toEqual(['hook-sick', 'hooked-sick', 'term-sick', 'up-sick']);
    await pods.delete('restart', 1);
  });

  it.concurrent('restart: a sidecar that never comes up holds the app back; one that did and crashes does not', async () => {
    await pods.create(
      podOf('held', member('app'), {
        initContainers: [sidecar('crashes', { command: ['/no/such/program'] })],
        ...work('held'),
      }),
    );
    await pods.create(
      podOf('not-held', member('app'), {
        initContainers: [
          sh(`[ -e /work/once ] && exit 1; touch /work/once; sleep 3; exit 1`, {
            name: 'crashes',
            restartPolicy: 'Always',
            ...MOUNT,
          }),
          sh(`sleep 4; ${note('init')}`, { name: 'init', ...MOUNT }),
        ],
        ...work('not-held'),
      }),
    );
    const pod = await pods.until('not-held', 'run its app', (found) => {
      return containerStatus(found, 'app')?.state?.running !== undefined && found;
    });
    expect(containerStatus(pod, 'crashes')?.restartCount).toBeGreaterThanOrEqual(1);
    await pods.until('held', 'back off', (found) => {
      return containerStatus(found, 'crashes')?.state?.waiting?.reason === 'CrashLoopBackOff';
    });
    const held = await pods.get('held');
    expect(containerStatus(held, 'app')?.state?.waiting?.reason).toBe('PodInitializing');
    expect(lines('held')).toEqual([]);
    expect(held.status?.phase).toBe('Pending');
  });

  it.concurrent('a new sandbox runs everything in order again', async () => {
    await pods.create(
      podOf('anew', member('app'), {
        initContainers: [sh(note('init'), { name: 'init', ...MOUNT }), sidecar('side')],
        ...work('anew'),
      }),
    );
    const before = await pods.ready('anew');
    const order = ['init', 'up-side', 'up-app'];
    await waitFor('all to be up', () => lines('anew').length === 3);
    const [sandbox = ''] = await pods.sandboxIds(before);
    process.kill(await pods.taskPid(sandbox), 'SIGKILL');
    await pods.until('anew', 'live in a new sandbox', (pod) => {
      return isReady(pod) && containerStatus(pod, 'app')?.restartCount === 1;
    });
    await waitFor('all to be up', () => lines('anew').filter((line) => line === 'up-app').length === 2);
    expect(lines('anew').filter((line) => !line.startsWith('term'))).toEqual([...order, ...order]);
    await pods.delete('anew', 1);
  });

  function writeGo(name: string, file = 'go'): void {
    writeFileSync(`${node.run.paths.libDir}/${name}/${file}`, '');
  }
});
