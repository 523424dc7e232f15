import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, containerStatus, isReady, restartCount } from '../../harness/pod-summary.ts';
import { commandLine, identify, isAlive } from '../../harness/process-identity.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-life';
// Pods of all tests live at the same time on one node: most of a test's time is waiting.
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

const condition = (pod: { status?: { conditions?: { type: string; status: string }[] } }, type: string) =>
  pod.status?.conditions?.find((entry) => entry.type === type)?.status;

describe('the life of pods on real containerd', () => {
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

  // ── order ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('runs init containers one after the other, and the app after all of them', async () => {
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    await pods.create(
      podOf('init-order', sh(`cat /work/steps; ${STAY}`, mount), {
        initContainers: [
          sh('sleep 5; echo one >> /work/steps', { name: 'one', ...mount }),
          sh('echo two >> /work/steps', { name: 'two', ...mount }),
        ],
        volumes: [{ name: 'work', emptyDir: {} }],
      }),
    );
    const early = await pods.until('init-order', 'run its first init container', (pod) => {
      return containerStatus(pod, 'one')?.state?.running !== undefined && pod;
    });
    expect(containerStatus(early, 'main')?.state?.waiting?.reason).toBe('PodInitializing');
    expect(condition(early, 'Initialized')).toBe('False');
    const pod = await pods.ready('init-order');
    expect(await pods.untilLog(pod, 'two')).toBe('one\ntwo\n');
    expect(condition(pod, 'Initialized')).toBe('True');
    const [one, two] = ['one', 'two'].map((name) => containerStatus(pod, name)?.state?.terminated);
    expect([one?.reason, two?.reason]).toEqual(['Completed', 'Completed']);
    expect(Date.parse(two?.startedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(one?.finishedAt ?? ''));
  });

  it.concurrent('repeats a failing init container and holds the app back', async () => {
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    await pods.create(
      podOf('init-fails', sh(STAY), {
        initContainers: [sh('[ -e /work/tried ] || { touch /work/tried; exit 4; }', { name: 'init', ...mount })],
        volumes: [{ name: 'work', emptyDir: {} }],
      }),
    );
    const pod = await pods.ready('init-fails');
    expect(containerStatus(pod, 'init')).toMatchObject({ restartCount: 1, state: { terminated: { exitCode: 0 } } });
  });

  it.concurrent('fails a pod whose init container fails under Never', async () => {
    await pods.create(
      podOf('init-never', sh(STAY), {
        restartPolicy: 'Never',
        initContainers: [sh('exit 5', { name: 'init' })],
      }),
    );
    const pod = await pods.phase('init-never', 'Failed');
    expect(containerStatus(pod, 'init')?.state?.terminated?.exitCode).toBe(5);
    expect(containerStatus(pod, 'main')?.containerID ?? '').toBe('');
  });

  it.concurrent('starts sidecars before the app, restarts them, and ends them after it', async () => {
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    await pods.create(
      podOf('sidecar', sh('cat /work/log; sleep 4; echo app-ends >> /work/log', mount), {
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 10,
        initContainers: [
          sh(
            `echo sidecar-up >> /work/log; trap 'echo sidecar-ends >> /work/log; exit 0' TERM; sleep 1; touch /up
              while :; do sleep 1000 & wait $!; done`,
            {
              name: 'sidecar',
              restartPolicy: 'Always',
              startupProbe: { exec: { command: ['cat', '/up'] }, periodSeconds: 1, failureThreshold: 30 },
              ...mount,
            },
          ),
        ],
        volumes: [{ name: 'work', hostPath: { path: `${node.run.paths.libDir}/sidecar`, type: 'DirectoryOrCreate' } }],
      }),
    );
    const pod = await pods.until('sidecar', 'have its app running', (candidate) => {
      return containerStatus(candidate, 'main')?.state?.running !== undefined && candidate;
    });
    expect(containerStatus(pod, 'sidecar')).toMatchObject({ started: true, ready: true });
    const ended = await pods.phase('sidecar', 'Succeeded');
    expect(readFileSync(join(node.run.paths.libDir, 'sidecar', 'log'), 'utf8')).toBe(
      'sidecar-up\napp-ends\nsidecar-ends\n',
    );
    expect(pods.log(ended)).toBe('sidecar-up\n');
  });

  // ── ends and restarts ───────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('restarts under Always even what succeeded', async () => {
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    await pods.create(
      podOf('always', sh(`[ -e /work/ran ] || { touch /work/ran; exit 0; }; ${STAY}`, mount), {
        volumes: [{ name: 'work', emptyDir: {} }],
      }),
    );
    const pod = await pods.until('always', 'be restarted', (candidate) => restartCount(candidate) === 1 && candidate);
    expect(containerStatus(pod, 'main')?.lastState?.terminated).toMatchObject({ exitCode: 0, reason: 'Completed' });
  });

  it.concurrent('backs off: at once, then 10 s, then 20 s', async () => {
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    const created = await pods.create(
      podOf('crash-loop', sh('cat /proc/uptime >> /work/starts; exit 1', mount), {
        volumes: [{ name: 'work', emptyDir: {} }],
      }),
    );
    const waiting = await pods.until('crash-loop', 'back off', (pod) => {
      const state = containerStatus(pod, 'main')?.state?.waiting;
      return state?.reason === 'CrashLoopBackOff' && { state, pod };
    });
    expect(waiting.state.message).toMatch(/^back-off 10s restarting failed container=main pod=crash-loop_default\(/);
    expect(restartCount(waiting.pod)).toBe(1);
    expect(containerStatus(waiting.pod, 'main')?.lastState?.terminated).toMatchObject({ exitCode: 1, reason: 'Error' });
    const starts = await waitFor(
      'the fourth start',
      () => {
        const lines = readFileSync(join(pods.emptyDir(created, 'work'), 'starts'), 'utf8')
          .trim()
          .split('\n');
        return lines.length >= 4 && lines.map((line) => Number(line.split(' ')[0]));
      },
      { timeoutMs: 60_000 },
    );
    const gaps = starts.slice(1).map((time, index) => time - (starts[index] ?? 0));
    console.log(`crash loop: starts apart by ${gaps.map((gap) => gap.toFixed(2)).join(', ')} s`);
    expect(gaps[0]).toBeLessThan(9);
    expect(gaps[1]).toBeGreaterThan(9.5);
    expect(gaps[1]).toBeLessThan(18);
    expect(gaps[2]).toBeGreaterThan(19.5);
    expect(gaps[2]).toBeLessThan(35);
    expect((await pods.events('crash-loop')).some((event) => event.reason === 'BackOff')).toBe(true);
  });

  it.concurrent('OnFailure: repeats what failed, leaves what succeeded', async () => {
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    await pods.create(
      podOf(
        'on-failure',
        [
          sh('[ -e /work/tried ] || { touch /work/tried; exit 1; }', { name: 'second', ...mount }),
          sh('exit 0', { name: 'first' }),
        ],
        { restartPolicy: 'OnFailure', volumes: [{ name: 'work', emptyDir: {} }] },
      ),
    );
    const pod = await pods.phase('on-failure', 'Succeeded');
    expect(containerStatus(pod, 'second')?.restartCount).toBe(1);
    expect(containerStatus(pod, 'first')?.restartCount).toBe(0);
    expect(condition(pod, 'Ready')).toBe('False');
    expect(pod.status?.conditions?.find((entry) => entry.type === 'Ready')?.reason).toBe('PodCompleted');
  });

  it.concurrent('Never: says how it ended and does not try again', async () => {
    await pods.create(podOf('never', sh('exit 3'), { restartPolicy: 'Never' }));
    const pod = await pods.phase('never', 'Failed');
    expect(containerStatus(pod, 'main')).toMatchObject({
      restartCount: 0,
      state: { terminated: { exitCode: 3, reason: 'Error' } },
    });
    await pause(2_000);
    expect(restartCount(await pods.get('never'))).toBe(0);
  });

  it.concurrent('ends a pod at its activeDeadlineSeconds', async () => {
    await pods.create(podOf('deadline', sh(STAY), { activeDeadlineSeconds: 20 }));
    const pod = await pods.phase('deadline', 'Failed');
    expect(pod.status).toMatchObject({ reason: 'DeadlineExceeded' });
    const ran = Date.parse(containerStatus(pod, 'main')?.state?.terminated?.finishedAt ?? '');
    expect(ran - Date.parse(pod.status?.startTime ?? '')).toBeGreaterThanOrEqual(19_000);
  });

  it.concurrent('reports termination messages from the file, or from the log on error', async () => {
    const file = { restartPolicy: 'Never' } as const;
    await pods.create(podOf('message-file', sh('echo -n "it is done" > /dev/termination-log; exit 1'), file));
    await pods.create(
      podOf(
        'message-log',
        [
          sh('echo out; echo "the reason" >&2; exit 2', { terminationMessagePolicy: 'FallbackToLogsOnError' }),
          sh('echo "no reason"; exit 0', { name: 'good', terminationMessagePolicy: 'FallbackToLogsOnError' }),
          sh('echo -n mine > /msg; exit 0', { name: 'path', terminationMessagePath: '/msg' }),
        ],
        file,
      ),
    );
    const messageOf = (pod: Parameters<typeof containerStatus>[0], name: string) =>
      containerStatus(pod, name)?.state?.terminated?.message;
    // An end may be told before its message has been read.
    const until = (name: string, container: string, text: string) =>
      pods.until(name, `say "${text}"`, (pod) => messageOf(pod, container)?.includes(text) && pod);
    expect(messageOf(await until('message-file', 'main', 'it is done'), 'main')).toBe('it is done');
    await until('message-log', 'main', 'the reason');
    const log = await until('message-log', 'path', 'mine');
    expect(messageOf(log, 'path')).toBe('mine');
    expect(messageOf(await pods.phase('message-log', 'Failed'), 'good')).toBeUndefined();
  });

  it.concurrent('says OOMKilled of a container over its memory limit', async () => {
    await pods.create(
      podOf(
        'oom',
        sh('dd if=/dev/zero of=/dev/null bs=256M count=1', {
          command: ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=256M', 'count=1'],
          resources: { limits: { memory: '32Mi' } },
        }),
        { restartPolicy: 'Never' },
      ),
    );
    // The runtime hears of the cause beside the exit, and at times after it.
    const ended = await pods.until('oom', 'be OOMKilled', (pod) => {
      const state = containerStatus(pod, 'main')?.state?.terminated;
      return state?.reason === 'OOMKilled' && state;
    });
    expect(ended.exitCode).toBe(137);
    expect((await pods.get('oom')).status?.phase).toBe('Failed');
  });

  // ── hooks and grace ───────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('runs preStop before SIGTERM, inside the grace period', async () => {
    const hostDir = `${node.run.paths.libDir}/pre-stop`;
    const mount = { volumeMounts: [{ name: 'work', mountPath: '/work' }] };
    await pods.create(
      podOf(
        'pre-stop',
        sh("trap 'echo term >> /work/log; exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done", {
          lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo pre-stop >> /work/log; sleep 1'] } } },
          ...mount,
        }),
        {
          terminationGracePeriodSeconds: 20,
          volumes: [{ name: 'work', hostPath: { path: hostDir, type: 'DirectoryOrCreate' } }],
        },
      ),
    );
    await pods.untilLog(await pods.ready('pre-stop'), 'up');
    const since = performance.now();
    await pods.delete('pre-stop');
    await pods.gone('pre-stop');
    const ms = performance.now() - since;
    expect(readFileSync(`${hostDir}/log`, 'utf8')).toBe('pre-stop\nterm\n');
    expect(ms).toBeGreaterThan(1_000);
    expect(ms).toBeLessThan(20_000);
  });

  it.concurrent('kills what ignores SIGTERM when the grace period is over', async () => {
    await pods.create(
      podOf('stubborn', sh("trap '' TERM; echo up; while :; do sleep 1; done"), { terminationGracePeriodSeconds: 3 }),
    );
    await pods.untilLog(await pods.ready('stubborn'), 'up');
    const since = performance.now();
    await pods.delete('stubborn');
    await pause(1_500);
    const ending = await pods.get('stubborn');
    expect(ending.metadata.deletionTimestamp).toBeDefined();
    await pods.gone('stubborn');
    const ms = performance.now() - since;
    expect(ms).toBeGreaterThan(2_500);
    expect(ms).toBeLessThan(30_000);
  });

  it.concurrent('a preStop that hangs ends with the grace period', async () => {
    await pods.create(
      podOf(
        'pre-stop-hangs',
        sh(`echo up; ${STAY}`, { lifecycle: { preStop: { exec: { command: ['sleep', '600'] } } } }),
        { terminationGracePeriodSeconds: 3 },
      ),
    );
    await pods.untilLog(await pods.ready('pre-stop-hangs'), 'up');
    const since = performance.now();
    await pods.delete('pre-stop-hangs');
    await pods.gone('pre-stop-hangs');
    expect(performance.now() - since).toBeLessThan(30_000);
  });

  it.concurrent('a forced deletion frees the name at once, and still ends the processes', async () => {
    const stubborn = sh("trap '' TERM; echo up; while :; do sleep 1; done");
    await pods.create(podOf('forced', stubborn, { terminationGracePeriodSeconds: 4 }));
    const first = await pods.ready('forced');
    await pods.untilLog(first, 'up');
    const pid = identify(await pods.pid(first));
    await pods.delete('forced', 0);
    await waitFor('the name to be free', async () => (await pods.find('forced')) === undefined, { timeoutMs: 2_000 });
    await pods.create(podOf('forced', sh(STAY)));
    const second = await pods.ready('forced');
    expect(second.metadata.uid).not.toBe(first.metadata.uid);
    expect(restartCount(second)).toBe(0);
    await waitFor('the old process to end', () => pid === undefined || !isAlive(pid), { timeoutMs: 15_000 });
    await waitFor('its directories to go', () => !pods.podDirectories().includes(first.metadata.uid ?? ''));
    expect(isReady(await pods.get('forced'))).toBe(true);
  });

  it.concurrent('a probe brings its own grace period', async () => {
    await pods.create(
      podOf(
        'probe-grace',
        sh("trap '' TERM; while :; do sleep 1; done", {
          livenessProbe: {
            exec: { command: ['false'] },
            periodSeconds: 1,
            failureThreshold: 1,
            terminationGracePeriodSeconds: 1,
          },
        }),
        { terminationGracePeriodSeconds: 600 },
      ),
    );
    await pods.until('probe-grace', 'be restarted', (pod) => restartCount(pod) >= 1, 30_000);
    await pods.delete('probe-grace', 1);
  });

  it.concurrent('runs postStart, and kills a container whose postStart fails', async () => {
    await pods.create(
      podOf('post-start', sh(STAY, { lifecycle: { postStart: { exec: { command: ['touch', '/tmp/started'] } } } })),
    );
    await pods.create(
      podOf(
        'post-start-fails',
        sh(STAY, { lifecycle: { postStart: { exec: { command: ['sh', '-c', 'echo no; exit 7'] } } } }),
      ),
    );
    const pod = await pods.ready('post-start');
    expect(await pods.file(pod, '/tmp/started')).toBe('');
    const event = await pods.untilEvent('post-start-fails', 'FailedPostStartHook');
    expect(event.type).toBe('Warning');
    const restarted = await pods.until('post-start-fails', 'be restarted', (candidate) => {
      return restartCount(candidate) >= 1 && candidate;
    });
    expect(isReady(restarted)).toBe(false);
  });

  // ── probes ────────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('follows readiness by exec, httpGet and tcpSocket', async () => {
    const soon = { periodSeconds: 1, failureThreshold: 1 };
    await pods.create(
      podOf('ready-exec', sh(STAY, { readinessProbe: { exec: { command: ['cat', '/tmp/ready'] }, ...soon } })),
    );
    await pods.create(podOf('ready-http', web()));
    await pods.create(podOf('ready-tcp', web({ readinessProbe: { tcpSocket: { port: 8080 }, ...soon } })));
    await pods.create(podOf('ready-tcp-not', web({ readinessProbe: { tcpSocket: { port: 8081 }, ...soon } })));
    const [http] = await Promise.all([pods.ready('ready-http'), pods.ready('ready-tcp')]);

    const exec = await pods.until('ready-exec', 'run', (pod) => {
      return containerStatus(pod, 'main')?.state?.running !== undefined && pod;
    });
    expect((await pods.untilEvent('ready-exec', 'Unhealthy')).message).toContain('Readiness probe failed');
    expect(isReady(exec)).toBe(false);
    const root = `/proc/${await pods.pid(exec)}/root`;
    writeFileSync(`${root}/tmp/ready`, '');
    await pods.ready('ready-exec');
    rmSync(`${root}/tmp/ready`);
    await pods.until('ready-exec', 'be not ready again', (pod) => !isReady(pod));

    await node.local.request(`http://${http.status?.podIP}:8080/cgi-bin/fail`);
    const failed = await pods.until('ready-http', 'be not ready', (pod) => !isReady(pod) && pod);
    expect(restartCount(failed)).toBe(0);
    await node.local.request(`http://${http.status?.podIP}:8080/cgi-bin/recover`);
    await pods.ready('ready-http');
    expect((await pods.untilEvent('ready-http', 'Unhealthy')).message).toContain('statuscode: 404');

    const refused = await pods.untilEvent('ready-tcp-not', 'Unhealthy');
    expect(refused.message).toContain('8081');
    expect(isReady(await pods.get('ready-tcp-not'))).toBe(false);
  });

  it.concurrent('follows readiness by gRPC health checks', async () => {
    const answer = `${node.run.paths.runDir}/grpc-answer`;
    writeFileSync(answer, 'NOT_SERVING');
    node.run.spawn(
      'grpc-health',
      [process.execPath, join(import.meta.dirname, 'support', 'grpc-health-server.mjs'), '50051', answer],
      { netns: node.netns },
    );
    // The server is in the node's namespace, so the pod's address must be the node's.
    await pods.create(
      podOf(
        'ready-grpc',
        sh(STAY, { readinessProbe: { grpc: { port: 50_051, service: 'x' }, periodSeconds: 1, failureThreshold: 1 } }),
        { hostNetwork: true },
      ),
    );
    await waitFor(
      'a NOT_SERVING answer',
      async () => (await pods.events('ready-grpc')).some(({ message }) => message?.includes('NOT_SERVING')),
      { timeoutMs: 90_000 },
    );
    expect(isReady(await pods.get('ready-grpc'))).toBe(false);
    writeFileSync(answer, 'SERVING');
    await pods.ready('ready-grpc');
    writeFileSync(answer, 'NOT_SERVING');
    await pods.until('ready-grpc', 'be not ready', (pod) => !isReady(pod));
  });

  it.concurrent('enforces the timeout of exec probes', async () => {
    await pods.create(
      podOf(
        'exec-timeout',
        sh(STAY, {
          readinessProbe: { exec: { command: ['sleep', '3333'] }, periodSeconds: 2, timeoutSeconds: 1 },
        }),
      ),
    );
    const event = await pods.untilEvent('exec-timeout', 'Unhealthy');
    expect(event.message).toMatch(/Readiness probe (failed|errored).*timed out/s);
    await pause(5_000);
    const pod = await pods.get('exec-timeout');
    expect(isReady(pod)).toBe(false);
    // What timed out is killed: at most the one of the moment runs.
    const hanging = pods.processes(pod).filter((pid) => commandLine(pid).includes('3333'));
    expect(hanging.length).toBeLessThanOrEqual(1);
  });

  it.concurrent('restarts a container whose liveness fails', async () => {
    await pods.create(
      podOf(
        'liveness',
        web({
          livenessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1, failureThreshold: 2 },
        }),
      ),
    );
    const before = await pods.ready('liveness');
    await node.local.request(`http://${before.status?.podIP}:8080/cgi-bin/sicken`);
    const after = await pods.until('liveness', 'be restarted', (pod) => restartCount(pod) === 1 && isReady(pod) && pod);
    expect(containerId(after, 'web')).not.toBe(containerId(before, 'web'));
    expect(after.status?.podIP).toBe(before.status?.podIP);
    const killing = await pods.untilEvent('liveness', 'Killing');
    expect(killing.message).toContain('failed liveness probe');
  });

  it.concurrent('holds liveness and readiness back until the startup probe succeeds', async () => {
    await pods.create(
      podOf(
        'startup',
        sh(`sleep 4; touch /tmp/started; ${STAY}`, {
          startupProbe: { exec: { command: ['cat', '/tmp/started'] }, periodSeconds: 1, failureThreshold: 60 },
          livenessProbe: { exec: { command: ['cat', '/tmp/started'] }, periodSeconds: 1, failureThreshold: 1 },
          readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
        }),
      ),
    );
    const early = await pods.until('startup', 'run', (pod) => {
      return containerStatus(pod, 'main')?.state?.running !== undefined && pod;
    });
    expect(containerStatus(early, 'main')).toMatchObject({ started: false, ready: false });
    const pod = await pods.ready('startup');
    expect(containerStatus(pod, 'main')?.started).toBe(true);
    await pause(2_000);
    expect(restartCount(await pods.get('startup'))).toBe(0);

    await pods.create(
      podOf(
        'startup-never',
        sh(STAY, { startupProbe: { exec: { command: ['false'] }, periodSeconds: 1, failureThreshold: 2 } }),
      ),
    );
    await pods.until('startup-never', 'be restarted', (candidate) => restartCount(candidate) >= 1);
  });

  // ── images and errors ─────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('says what is wrong with an image', async () => {
    const image = (name: string, imageName: string, policy: 'Never' | 'IfNotPresent') =>
      pods.create(podOf(name, sh(STAY, { image: imageName, imagePullPolicy: policy })));
    await image('image-never', 'deckhand.local/absent:1', 'Never');
    await image('image-absent', '127.0.0.1:9/absent:1', 'IfNotPresent');
    await image('image-invalid', 'deckhand.local/UPPER:1', 'IfNotPresent');
    const waiting = (name: string, reason: string) =>
      pods.until(name, `wait with ${reason}`, (pod) => {
        const state = containerStatus(pod, 'main')?.state?.waiting;
        return state?.reason === reason && state;
      });
    expect((await waiting('image-never', 'ErrImageNeverPull')).message).toContain('pull policy of Never');
    expect((await waiting('image-absent', 'ErrImagePull')).message).toContain('127.0.0.1:9');
    await waiting('image-absent', 'ImagePullBackOff');
    await waiting('image-invalid', 'InvalidImageName');
    expect((await pods.get('image-absent')).status?.phase).toBe('Pending');
  });

  it.concurrent('waits for a missing ConfigMap and goes on when it is there', async () => {
    const optional = { name: 'MAY', valueFrom: { configMapKeyRef: { name: 'late-none', key: 'x', optional: true } } };
    const env = [{ name: 'WORD', valueFrom: { configMapKeyRef: { name: 'late-env', key: 'word' } } }, optional];
    await pods.create(podOf('late-env', sh(`echo "word=$WORD may=\${MAY-unset}"; ${STAY}`, { env })));
    await pods.create(
      podOf('late-volume', sh(`cat /c/word; echo; ${STAY}`, { volumeMounts: [{ name: 'c', mountPath: '/c' }] }), {
        volumes: [{ name: 'c', configMap: { name: 'late-volume' } }],
      }),
    );
    const state = await pods.until('late-env', 'wait for its ConfigMap', (pod) => {
      const waiting = containerStatus(pod, 'main')?.state?.waiting;
      return waiting?.reason === 'CreateContainerConfigError' && waiting;
    });
    expect(state.message).toContain('late-env');
    expect((await pods.untilEvent('late-volume', 'FailedMount')).message).toContain('late-volume');
    const since = performance.now();
    for (const name of ['late-env', 'late-volume']) {
      const map: ConfigMap = { metadata: { name, namespace: 'default' }, data: { word: 'here' } };
      await node.deckhand.api.create(resources.configmaps, map);
    }
    const [withEnv, withVolume] = await Promise.all([pods.ready('late-env'), pods.ready('late-volume')]);
    console.log(`ready ${(performance.now() - since).toFixed(0)} ms after the missing ConfigMaps were made`);
    expect(await pods.untilLog(withEnv, 'word=')).toBe('word=here may=unset\n');
    expect(await pods.untilLog(withVolume, 'here')).toBe('here\n');
  });

  it.concurrent('says StartError of a command that is not there', async () => {
    await pods.create(podOf('wrong-command', sh('', { command: ['/no/such/program'] })));
    const status = await pods.until('wrong-command', 'fail to start', (pod) => {
      const found = containerStatus(pod, 'main');
      const ended = found?.state?.terminated ?? found?.lastState?.terminated;
      return ended?.reason === 'StartError' && { ended, found };
    });
    expect(status.ended.exitCode).toBe(128);
    await pods.until('wrong-command', 'say so while it waits', (pod) => {
      const waiting = containerStatus(pod, 'main')?.state?.waiting;
      return waiting?.reason === 'RunContainerError' || waiting?.reason === 'CrashLoopBackOff';
    });
    expect((await pods.untilEvent('wrong-command', 'Failed')).message).toContain('/no/such/program');
    await pods.until('wrong-command', 'count its restarts', (pod) => restartCount(pod) >= 1);
  });

  // ── what others do behind the agent's back ──────────────────────────────────────────────────────────────────────────

  it.concurrent('makes a new sandbox for one that died', async () => {
    await pods.create(podOf('sandbox-dies', web()));
    const before = await pods.ready('sandbox-dies');
    const [sandbox = ''] = await pods.sandboxIds(before);
    process.kill(await pods.taskPid(sandbox), 'SIGKILL');
    const after = await pods.until('sandbox-dies', 'live in a new sandbox', async (pod) => {
      return isReady(pod) && containerId(pod, 'web') !== containerId(before, 'web') && pod;
    });
    expect(restartCount(after)).toBe(1);
    expect(await pods.sandboxIds(after)).not.toEqual([sandbox]);
    expect((await node.local.request(`http://${after.status?.podIP}:8080/`)).body).toBe('sandbox-dies\n');
  });

  it.concurrent('goes on in a new sandbox although the old one cannot be taken down', async () => {
    await pods.create(podOf('sandbox-stays', web()));
    const before = await pods.ready('sandbox-stays');
    const [sandbox = ''] = await pods.sandboxIds(before);
    // What CNI remembers of the sandbox, cut short as by a containerd that was killed while it wrote.
    const remembered = `/var/lib/cni/results/${NAME}-${sandbox}-eth0`;
    expect(readFileSync(remembered, 'utf8')).toContain(sandbox);
    writeFileSync(remembered, '');
    process.kill(await pods.taskPid(sandbox), 'SIGKILL');
    const after = await pods.until('sandbox-stays', 'live in a new sandbox', (pod) => {
      return isReady(pod) && containerId(pod, 'web') !== containerId(before, 'web') && pod;
    });
    expect(await pods.sandboxIds(after)).toContain(sandbox);
    rmSync(remembered);
    await pods.delete('sandbox-stays');
    await pods.gone('sandbox-stays');
    await waitFor('both sandboxes to go', async () => (await pods.sandboxIds(after)).length === 0);
  });

  it.concurrent('starts a container again that was killed, and one that was removed with ctr', async () => {
    await pods.create(podOf('killed', sh(`echo up; ${STAY}`)));
    const before = await pods.ready('killed');
    await node.containerd.ctr('tasks', 'kill', '--signal', 'SIGKILL', containerId(before, 'main'));
    const killed = await pods.until('killed', 'be restarted', (pod) => restartCount(pod) === 1 && isReady(pod) && pod);
    expect(containerStatus(killed, 'main')?.lastState?.terminated?.exitCode).toBe(137);
    const id = containerId(killed, 'main');
    await node.containerd.ctr('tasks', 'delete', '--force', id).catch(() => '');
    await node.containerd.ctr('containers', 'delete', id).catch(() => '');
    const again = await pods.until('killed', 'run anew', (pod) => {
      const now = containerId(pod, 'main');
      return isReady(pod) && now !== id && now !== containerId(before, 'main') && pod;
    });
    expect(restartCount(again)).toBeGreaterThanOrEqual(1);
    expect(await pods.pid(again)).toBeGreaterThan(0);
  });
});
