import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ConfigMap } from '../../../src/model/objects.ts';
import type { Container, Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { BUSYBOX_IMAGE } from '../../harness/images.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { inNetns } from '../../harness/netns.ts';
import { containerStatus, isReady } from '../../harness/pod-summary.ts';
import { runCommand } from '../../harness/run-command.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-containers-life';
const KUBECTL = '/usr/bin/kubectl';
// Pods of all tests live at the same time on one node: most of a test's time is waiting.
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

const WORK = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
const WORK_VOLUME = { volumes: [{ name: 'work', emptyDir: {} }] };

describe('the life of containers', () => {
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

  const written = (pod: Pod, file: string): string => {
    const path = `${pods.emptyDir(pod, 'work')}/${file}`;
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  };

  // ── restart rules ─────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('rules on exit codes bring a container back against the policy, and only for their codes', async () => {
    const exits = (name: string, ...codes: number[]) => {
      const cases = codes.map((code, index) => `${index}) exit ${code};;`).join(' ');
      return `n=$(cat /work/${name} 2>/dev/null || echo 0); echo $((n+1)) > /work/${name}; case $n in ${cases} esac`;
    };
    await pods.create(
      podOf(
        'rules',
        [
          sh(exits('in', 42, 1), {
            name: 'in',
            restartPolicy: 'Never',
            restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }],
            ...WORK,
          }),
          sh(exits('not-in', 7, 3), {
            name: 'not-in',
            restartPolicy: 'Never',
            restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'NotIn', values: [0, 3] } }],
            ...WORK,
          }),
          sh(exits('own', 5, 0), { name: 'own', restartPolicy: 'OnFailure', ...WORK }),
          sh(exits('pods', 6, 0), { name: 'pods', ...WORK }),
        ],
        {
          restartPolicy: 'Never',
          initContainers: [
            sh(exits('init', 8, 0), {
              name: 'init',
              restartPolicy: 'Never',
              restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [8] } }],
              ...WORK,
            }),
          ],
          ...WORK_VOLUME,
        },
      ),
    );
    const pod = await pods.phase('rules', 'Failed');
    const ends = ['init', 'in', 'not-in', 'own', 'pods'].map((name) => {
      const status = containerStatus(pod, name);
      return [name, status?.restartCount, status?.state?.terminated?.exitCode];
    });
    expect(ends).toEqual([
      ['init', 1, 0],
      ['in', 1, 1],
      ['not-in', 1, 3],
      ['own', 1, 0],
      ['pods', 0, 6],
    ]);
  });

  it.concurrent('RestartAllContainers runs the whole pod anew in its sandbox, with its volumes', async () => {
    await pods.create(
      podOf(
        'restart-all',
        [
          sh(`echo source >> /work/log; [ -e /work/again ] && { ${STAY}; }; touch /work/again; sleep 1; exit 88`, {
            name: 'source',
            restartPolicy: 'Never',
            restartPolicyRules: [{ action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [88] } }],
            ...WORK,
          }),
          // Does not end by itself, so that the restart can be looked at.
          sh("echo other >> /work/log; trap '' TERM; echo up; while :; do sleep 1; done", {
            name: 'other',
            lifecycle: { preStop: { exec: { command: ['touch', '/work/hook'] } } },
            ...WORK,
          }),
          sh('echo done', { name: 'done' }),
        ],
        {
          restartPolicy: 'Never',
          terminationGracePeriodSeconds: 60,
          initContainers: [
            sh('echo init >> /work/log', { name: 'init', ...WORK }),
            sh(`echo sidecar >> /work/log; ${STAY}`, { name: 'sidecar', restartPolicy: 'Always', ...WORK }),
          ],
          ...WORK_VOLUME,
        },
      ),
    );
    const condition = (pod: Pod) => pod.status?.conditions?.find(({ type }) => type === 'AllContainersRestarting');
    const during = await pods.until('restart-all', 'be restarted as a whole', (pod) => {
      return condition(pod)?.status === 'True' && pod;
    });
    expect(condition(during)).toMatchObject({ reason: 'RestartAllContainersStarted' });
    expect(containerStatus(during, 'source')?.state?.terminated?.exitCode).toBe(88);
    const [sandbox] = await pods.sandboxIds(during);
    const after = await pods.until('restart-all', 'run anew', (pod) => {
      const up = ['source', 'other', 'sidecar'].every((name) => {
        const status = containerStatus(pod, name);
        return status?.restartCount === 1 && status.state?.running !== undefined;
      });
      return up && containerStatus(pod, 'done')?.state?.terminated !== undefined && pod;
    });
    expect(condition(after)?.status).toBe('False');
    expect(after.status?.phase).toBe('Running');
    expect(await pods.sandboxIds(after)).toEqual([sandbox]);
    expect(after.status?.podIPs).toEqual(during.status?.podIPs);
    expect(containerStatus(after, 'init')).toMatchObject({ restartCount: 1, state: { terminated: { exitCode: 0 } } });
    expect(containerStatus(after, 'other')?.lastState?.terminated).toMatchObject({
      reason: 'RestartingAllContainers',
      exitCode: 137,
    });
    const lines = written(after, 'log').trim().split('\n');
    expect(lines.slice(0, 2)).toEqual(['init', 'sidecar']);
    expect(lines.slice(2, 4).sort()).toEqual(['other', 'source']);
    expect(lines.slice(4, 6)).toEqual(['init', 'sidecar']);
    // No hook, no grace, and the logs of both lives.
    expect(written(after, 'hook')).toBe('');
    expect(existsSync(`${pods.emptyDir(after, 'work')}/hook`)).toBe(false);
    expect([0, 1].map((attempt) => pods.log(after, 'other', attempt))).toEqual(['up\n', 'up\n']);
    const killed = (await pods.events('restart-all')).filter(({ reason }) => reason === 'Killing');
    expect(killed.map(({ message }) => message)).toContain('killing');
    await pods.delete('restart-all', 1);
    await pods.gone('restart-all');
  });

  // ── ephemeral containers ──────────────────────────────────────────────────────────────────────────────────────────

  const debug = async (name: string, ...containers: Partial<Container>[]): Promise<void> => {
    const { spec } = await pods.get(name);
    const ephemeralContainers = [...(spec.ephemeralContainers ?? []), ...containers];
    const patch = { spec: { ephemeralContainers } };
    await node.deckhand.api.mergePatch(resources.pods, 'default', name, patch, 'ephemeralcontainers');
  };

  it.concurrent('an ephemeral container joins its target’s processes, runs once, and holds nothing up', async () => {
    await pods.create(podOf('debugged', [sh(`echo $$ > /proc/self/comm; ${STAY}`), sh(STAY, { name: 'second' })]));
    const before = await pods.ready('debugged');
    const map: ConfigMap = { metadata: { name: 'for-debug', namespace: 'default' }, data: { word: 'late' } };
    await node.deckhand.api.create(resources.configmaps, map);
    await debug(
      'debugged',
      {
        ...sh('ps; echo word=$WORD; exit 3', {
          name: 'look',
          env: [{ name: 'WORD', valueFrom: { configMapKeyRef: { name: 'for-debug', key: 'word' } } }],
        }),
        targetContainerName: 'main',
      },
      sh('ps; echo alone', { name: 'alone' }),
      { ...sh("echo up; trap '' TERM; while :; do sleep 1; done", { name: 'stays' }), targetContainerName: 'second' },
    );
    const ephemeral = (pod: Pod, name: string) =>
      pod.status?.ephemeralContainerStatuses?.find((status) => status.name === name);
    const after = await pods.until('debugged', 'have its ephemeral containers', (pod) => {
      const ended = ['look', 'alone'].every((name) => ephemeral(pod, name)?.state?.terminated !== undefined);
      return ended && ephemeral(pod, 'stays')?.state?.running !== undefined && pod;
    });
    expect(ephemeral(after, 'look')).toMatchObject({
      state: { terminated: { exitCode: 3, reason: 'Error' } },
      restartCount: 0,
      ready: false,
    });
    expect(pods.log(after, 'look')).toContain('trap ');
    expect(pods.log(after, 'look')).toContain('word=late');
    expect(pods.log(after, 'alone')).not.toContain('trap ');
    const [target, stays, main] = await Promise.all([
      pods.pid(after, 'second'),
      pods.taskPid(ephemeral(after, 'stays')?.containerID?.replace(/^.*:\/\//, '') ?? ''),
      pods.pid(after),
    ]);
    const namespace = (pid: number): string => readlinkSync(`/proc/${pid}/ns/pid`);
    expect(namespace(stays)).toBe(namespace(target));
    expect(namespace(stays)).not.toBe(namespace(main));
    // The pod is ready as it was, and nothing of it was touched.
    expect(isReady(after)).toBe(true);
    expect(after.status?.containerStatuses?.map(({ containerID }) => containerID)).toEqual(
      before.status?.containerStatuses?.map(({ containerID }) => containerID),
    );
    // What has run once is not run again, also when another one comes.
    await debug('debugged', sh('exit 0', { name: 'third' }));
    const later = await pods.until('debugged', 'end the third', (pod) => {
      return ephemeral(pod, 'third')?.state?.terminated !== undefined && pod;
    });
    expect(ephemeral(later, 'look')?.containerID).toBe(ephemeral(after, 'look')?.containerID);
    await pods.delete('debugged', 1);
    await pods.gone('debugged');
  });

  it.concurrent('an ephemeral container waits for a target that is not there yet', async () => {
    await pods.create(
      podOf('debug-early', sh(STAY), {
        initContainers: [sh('while ! [ -e /work/go ]; do sleep 0.2; done', { name: 'init', ...WORK })],
        ...WORK_VOLUME,
      }),
    );
    const pod = await pods.until('debug-early', 'run its init container', (found) => {
      return containerStatus(found, 'init')?.state?.running !== undefined && found;
    });
    await debug('debug-early', { ...sh('ps', { name: 'look' }), targetContainerName: 'main' });
    await pods.until('debug-early', 'say why', ({ status }) => {
      const waiting = status?.ephemeralContainerStatuses?.[0]?.state?.waiting;
      return (
        waiting?.reason === 'CreateContainerConfigError' && waiting.message === 'unable to find target container main'
      );
    });
    writeFileSync(`${pods.emptyDir(pod, 'work')}/go`, '');
    await pods.until('debug-early', 'have been looked at', ({ status }) => {
      return status?.ephemeralContainerStatuses?.[0]?.state?.terminated?.exitCode === 0;
    });
  });

  it.skipIf(!existsSync(KUBECTL))('kubectl debug finds its way', async () => {
    await pods.create(podOf('kubectl-debug', sh(STAY)));
    await pods.ready('kubectl-debug');
    const kubectl = [
      KUBECTL,
      '--kubeconfig',
      node.deckhand.kubeconfig,
      '--cache-dir',
      `${node.run.paths.runDir}/cache`,
    ];
    const words = [
      'debug',
      'kubectl-debug',
      `--image=${BUSYBOX_IMAGE}`,
      '--target=main',
      '-c',
      'dbg',
      '--profile=general',
    ];
    await runCommand(inNetns(node.netns, [...kubectl, ...words, '--', 'sh', '-c', 'ps; echo seen']));
    const pod = await pods.until('kubectl-debug', 'be debugged', (found) => {
      return found.status?.ephemeralContainerStatuses?.[0]?.state?.terminated?.exitCode === 0 && found;
    });
    expect(pods.log(pod, 'dbg')).toMatch(/trap [\s\S]*seen/);
  });
});
