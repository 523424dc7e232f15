import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeCri } from '../../../../src/host/cri/fake.ts';
import type { ContainerConfig, Mount, PodSandboxConfig, RuntimeEvent } from '../../../../src/host/cri/port.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { plainSecurity } from '../../../harness/plain-security.ts';

const sandboxConfig = (name: string, logDirectory = '/logs'): PodSandboxConfig => ({
  metadata: { name, uid: `uid-${name}`, namespace: 'default', attempt: 0 },
  hostname: name,
  logDirectory,
  portMappings: [],
  labels: {},
  annotations: {},
  linux: { cgroupParent: '', namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } },
});

const containerConfig = (
  name: string,
  options: { pid?: 'POD' | 'CONTAINER'; mounts?: Mount[] } = {},
): ContainerConfig => ({
  metadata: { name, attempt: 0 },
  image: 'web:1',
  userSpecifiedImage: 'web:1',
  command: [],
  args: [],
  workingDir: '',
  envs: [],
  mounts: options.mounts ?? [],
  devices: [],
  labels: {},
  annotations: {},
  logPath: `${name}/0.log`,
  stdin: false,
  stdinOnce: false,
  tty: false,
  resources: {},
  security: { ...plainSecurity, namespaceOptions: { network: 'POD', pid: options.pid ?? 'CONTAINER', ipc: 'POD' } },
});

describe('FakeCri, as tests use it', () => {
  let clock: ManualClock;
  let cri: FakeCri;

  beforeEach(() => {
    clock = new ManualClock();
    cri = new FakeCri({}, { clock });
    cri.addImage('web:1');
  });

  const start = async (pod: string, name: string, options?: Parameters<typeof containerConfig>[1]): Promise<string> => {
    const sandbox = cri.sandbox(pod)?.id ?? (await cri.runPodSandbox(sandboxConfig(pod), ''));
    const id = await cri.createContainer(sandbox, containerConfig(name, options), sandboxConfig(pod));
    await cri.startContainer(id);
    return id;
  };
  const code = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'no error',
      (error: unknown) => (error instanceof CodedError ? error.code : String(error)),
    );

  test('exit ends a running container, and only a running one', async () => {
    const id = await start('p', 'app');
    await clock.advance(1500);
    cri.exit(id, 2, { message: 'no more' });
    expect(cri.container('p', 'app')).toMatchObject({
      state: 'EXITED',
      exitCode: 2,
      reason: 'Error',
      message: 'no more',
      finishedAt: clock.now(),
      startedAt: clock.now() - 1500,
    });
    expect(() => cri.exit(id, 0)).toThrow(/EXITED/);
  });

  test('failNext fails as often as told, only where it matches, before or after the effect', async () => {
    cri.failNext('runPodSandbox', 'Unavailable', { times: 2, match: (subject) => subject === 'default/a' });
    expect(await code(cri.runPodSandbox(sandboxConfig('b'), ''))).toBe('no error');
    expect(await code(cri.runPodSandbox(sandboxConfig('a'), ''))).toBe('Unavailable');
    expect(await code(cri.runPodSandbox(sandboxConfig('a'), ''))).toBe('Unavailable');
    expect(cri.counts.sandboxes).toBe(1);
    cri.failNext('runPodSandbox', new CodedError('DeadlineExceeded', 'late'), { afterEffect: true });
    expect(await code(cri.runPodSandbox(sandboxConfig('a'), ''))).toBe('DeadlineExceeded');
    // The sandbox is there although its creator does not know: another try finds the name taken.
    expect(await code(cri.runPodSandbox(sandboxConfig('a'), ''))).toBe('AlreadyExists');
  });

  test('delay and hold let only their own operation wait', async () => {
    cri.delay('version', 1000);
    const release = cri.hold('runPodSandbox', (subject) => subject.endsWith('/stuck'));
    const done: string[] = [];
    void cri.version().then(() => done.push('version'));
    void cri.runPodSandbox(sandboxConfig('stuck'), '').then(() => done.push('stuck'));
    void cri.runPodSandbox(sandboxConfig('free'), '').then(() => done.push('free'));
    await clock.advance(999);
    expect(done).toEqual(['free']);
    await clock.advance(1);
    expect(done).toEqual(['free', 'version']);
    await clock.advance(3_600_000);
    expect(done).toHaveLength(2);
    release();
    await clock.advance(0);
    expect(done).toEqual(['free', 'version', 'stuck']);
  });

  test('a held call has no effect when its caller gives up, or the runtime goes away', async () => {
    cri.hold('runPodSandbox');
    const controller = new AbortController();
    const given = code(cri.runPodSandbox(sandboxConfig('a'), '', controller.signal));
    const lost = code(cri.runPodSandbox(sandboxConfig('b'), ''));
    await clock.advance(10);
    controller.abort();
    expect(await given).toBe('Aborted');
    cri.stopRuntime();
    expect(await lost).toBe('Unavailable');
    cri.startRuntime();
    expect(await cri.listPodSandbox()).toEqual([]);
  });

  test('records signals, with the wait between them', async () => {
    cri.program('stubborn', { ignoresTerm: true });
    cri.program('slow', { stopTakesMs: 3000, stopExitCode: 0 });
    const [stubborn, slow] = [await start('p', 'stubborn'), await start('p', 'slow')];
    const stopped = Promise.all([cri.stopContainer(stubborn, 5), cri.stopContainer(slow, 5)]);
    const at = clock.now();
    await clock.advance(5000);
    await stopped;
    expect(cri.signals.map(({ containerName, signal, atMs }) => [containerName, signal, atMs - at])).toEqual([
      ['stubborn', 'SIGTERM', 0],
      ['slow', 'SIGTERM', 0],
      ['stubborn', 'SIGKILL', 5000],
    ]);
    expect(cri.container('p', 'stubborn')?.exitCode).toBe(137);
    expect(cri.container('p', 'slow')).toMatchObject({ exitCode: 0, reason: 'Completed', finishedAt: at + 3000 });
  });

  test('programs may depend on the attempt', async () => {
    cri.program('flaky', (attempt) => (attempt === 0 ? { exitAfterMs: 10, exitCode: 1 } : {}));
    await start('p', 'flaky');
    await clock.advance(10);
    const sandbox = cri.sandbox('p')?.id ?? '';
    const second = { ...containerConfig('flaky'), metadata: { name: 'flaky', attempt: 1 } };
    await cri.startContainer(await cri.createContainer(sandbox, second, sandboxConfig('p')));
    await clock.advance(60_000);
    expect(cri.containersNamed('p', 'flaky').map((c) => [c.attempt, c.state])).toEqual([
      [0, 'EXITED'],
      [1, 'RUNNING'],
    ]);
  });

  test('a killed sandbox is not ready; who shares its process namespace dies with it', async () => {
    const [sharing, own] = [await start('p', 'sharing', { pid: 'POD' }), await start('p', 'own')];
    cri.killSandbox(cri.sandbox('p')?.id ?? '');
    expect((await cri.listPodSandbox())[0]?.state).toBe('NOTREADY');
    expect((await cri.containerStatus(sharing)).state).toBe('EXITED');
    expect((await cri.containerStatus(own)).state).toBe('RUNNING');
  });

  test('a rebooted node has records but no processes', async () => {
    const id = await start('p', 'app');
    cri.rebootNode();
    expect((await cri.containerStatus(id)).state).toBe('EXITED');
    expect((await cri.podSandboxStatus(cri.sandbox('p')?.id ?? '')).ips).toEqual([]);
  });

  test('events missed while the runtime is away are never told, but a gap is', async () => {
    const events: RuntimeEvent[] = [];
    let gaps = 0;
    const controller = new AbortController();
    const watching = cri.watchEvents({ onEvent: (e) => events.push(e), onGap: () => gaps++ }, controller.signal);
    const id = await start('p', 'app');
    await clock.advance(0);
    expect([gaps, events.map((e) => e.type)]).toEqual([1, ['created', 'started', 'created', 'started']]);
    cri.stopRuntime();
    expect(await code(cri.listContainers())).toBe('Unavailable');
    cri.exit(id, 1);
    cri.startRuntime();
    await clock.advance(0);
    expect([gaps, events.length]).toEqual([2, 4]);
    expect((await cri.containerStatus(id)).exitCode).toBe(1);
    controller.abort();
    expect(await watching).toBe('aborted');
    const quiet = new FakeCri({ events: false }, { clock });
    expect(await quiet.watchEvents({ onEvent: () => {}, onGap: () => {} }, new AbortController().signal)).toBe(
      'unsupported',
    );
  });

  test('pulls come from the registry, with credentials, under full names', async () => {
    expect(await code(cri.pullImage('shop/app:2', sandboxConfig('p')))).toBe('NotFound');
    cri.publishImage('shop/app:2', { username: 'web', allows: (auth) => auth?.username === 'me' });
    expect(await code(cri.pullImage('shop/app:2', sandboxConfig('p')))).toBe('Internal');
    const id = await cri.pullImage('shop/app:2', sandboxConfig('p'), { username: 'me', password: 'x' });
    expect(await cri.imageStatus('shop/app:2')).toMatchObject({
      id,
      username: 'web',
      repoTags: ['docker.io/shop/app:2'],
    });
    expect(cri.registryAccesses.map(({ image, auth }) => [image, auth?.username])).toEqual([
      ['docker.io/shop/app:2', undefined],
      ['docker.io/shop/app:2', undefined],
      ['docker.io/shop/app:2', 'me'],
    ]);
    await cri.removeImage('shop/app:2');
    expect(await cri.imageStatus('shop/app:2')).toBeUndefined();
  });

  test('a tag that moves leaves the old image without it', async () => {
    const old = cri.addImage('app:latest', { id: 'sha256:old' });
    cri.addImage('app:latest', { id: 'sha256:new' });
    expect((await cri.imageStatus('app'))?.id).toBe('sha256:new');
    expect((await cri.imageStatus(old.id))?.repoTags).toEqual([]);
  });

  test('addresses are unique, and run out', async () => {
    const ips = new Set<string>();
    for (let i = 0; i < 253; i++) {
      const id = await cri.runPodSandbox(sandboxConfig(`p${i}`), '');
      for (const ip of (await cri.podSandboxStatus(id)).ips) ips.add(ip);
    }
    expect(ips.size).toBe(253);
    expect(await code(cri.runPodSandbox(sandboxConfig('more'), ''))).toBe('Internal');
    await cri.stopPodSandbox(cri.sandbox('p7')?.id ?? '');
    expect(await code(cri.runPodSandbox(sandboxConfig('more'), ''))).toBe('no error');
  });

  test('conditions, usage and calls that the runtime lacks', async () => {
    cri.setCondition('NetworkReady', false, 'NetworkPluginNotReady', 'cni plugin not initialized');
    expect((await cri.status()).conditions).toContainEqual({
      type: 'NetworkReady',
      status: false,
      reason: 'NetworkPluginNotReady',
      message: 'cni plugin not initialized',
    });
    const id = await start('p', 'app');
    cri.setUsage(id, { cpu: { usageCoreNanoSeconds: 7 }, memory: { workingSetBytes: 9 } });
    expect((await cri.podSandboxStats(cri.sandbox('p')?.id ?? '')).memory?.workingSetBytes).toBe(9);
    const old = new FakeCri({ unimplemented: ['runtimeConfig'] }, { clock });
    expect(await code(old.runtimeConfig())).toBe('Unimplemented');
  });

  describe('with files', () => {
    let directory: string;
    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), 'dhcri-'));
    });
    afterEach(() => rmSync(directory, { recursive: true }));

    test('writes logs in the CRI format, and termination messages', async () => {
      const mounts: Mount[] = [
        {
          containerPath: '/dev/termination-log',
          hostPath: join(directory, 'message'),
          readonly: false,
          propagation: 'PRIVATE',
        },
      ];
      cri.program('app', { exitAfterMs: 5, exitCode: 1, terminationMessage: 'out of ideas' });
      const config = sandboxConfig('p', directory);
      const sandbox = await cri.runPodSandbox(config, '');
      const id = await cri.createContainer(sandbox, containerConfig('app', { mounts }), config);
      await cri.startContainer(id);
      cri.writeLog(id, 'hello');
      cri.writeLog(id, 'oops', 'stderr');
      expect(readFileSync(join(directory, 'app/0.log'), 'utf8')).toBe(
        '2026-01-01T00:00:00.000000000Z stdout F hello\n2026-01-01T00:00:00.000000000Z stderr F oops\n',
      );
      await clock.advance(5);
      expect(readFileSync(join(directory, 'message'), 'utf8')).toBe('out of ideas');
    });
  });
});
