import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type {
  ContainerConfig,
  ContainerStatus,
  CriRuntime,
  PodSandboxConfig,
  RuntimeEvent,
} from '../../src/host/cri/port.ts';
import { CodedError } from '../../src/kit/errors.ts';
import { plainSecurity } from '../harness/plain-security.ts';

/**
 * Containers by what they do, which is also their name: `obedient` ends with 3 on the stop signal, `stubborn` ignores it,
 * `failing` ends with 7 and `done` with 0 soon after their start, `eater` exceeds its memory, `missing` has no such
 * command.
 */
export type Workload = 'obedient' | 'stubborn' | 'failing' | 'done' | 'eater' | 'missing';

/** A runtime under test, and how time passes there. */
export interface CriUnderTest {
  readonly cri: CriRuntime;
  /** An image that is on the node. */
  readonly image: string;
  /** Command lines by workload; a fake knows by the name. */
  readonly commands: Readonly<Record<Workload, readonly string[]>>;
  /** Makes exec answer: "out" on stdout, "err" on stderr, exit code 4. */
  readonly execCommand: readonly string[];
  /** Makes exec take longer than any test. */
  readonly execForever: readonly string[];
  readonly cgroupParent: string;
  logDirectory(podName: string): string;
  /** Waits until an `obedient` container hears the stop signal: a shell has to get as far as its trap. */
  obeys(containerId: string): Promise<void>;
  /** Lets time pass until the promise settles. */
  settle<T>(promise: Promise<T>): Promise<T>;
  /** Lets a little time pass between two looks. */
  pass(): Promise<void>;
  /** The runtime's daemon goes away, its containers stay. */
  stopRuntime(): Promise<void>;
  startRuntime(): Promise<void>;
  close(): Promise<void>;
}

/** Everything that deckhand relies on in a container runtime, told of any CriRuntime. */
export function criRuntimeContract(name: string, open: () => Promise<CriUnderTest>): void {
  describe(`${name} as a CRI runtime`, () => {
    let under: CriUnderTest;
    let cri: CriRuntime;
    let serial = 0;
    let pod = '';

    beforeAll(async () => {
      under = await open();
      cri = under.cri;
    });
    afterAll(async () => {
      await under?.close();
    });
    beforeEach(() => {
      pod = `pod${++serial}`;
    });

    const sandboxConfig = (podName = pod, attempt = 0): PodSandboxConfig => ({
      metadata: { name: podName, uid: `uid-${podName}`, namespace: 'default', attempt },
      hostname: podName,
      logDirectory: under.logDirectory(podName),
      dnsConfig: { servers: ['10.96.0.10'], searches: ['svc.cluster.local'], options: ['ndots:5'] },
      portMappings: [],
      labels: { pod: podName, suite: 'contract' },
      annotations: { note: 'a note' },
      linux: {
        cgroupParent: `${under.cgroupParent}/${podName}`,
        namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' },
      },
    });

    const containerConfig = (workload: Workload, attempt = 0): ContainerConfig => ({
      metadata: { name: workload, attempt },
      image: under.image,
      userSpecifiedImage: under.image,
      command: under.commands[workload],
      args: [],
      workingDir: '',
      envs: [{ key: 'WHO', value: 'contract' }],
      mounts: [],
      devices: [],
      labels: { container: workload, attempt: String(attempt) },
      annotations: { hash: '0123abcd' },
      logPath: `${workload}/${attempt}.log`,
      stdin: false,
      stdinOnce: false,
      tty: false,
      resources: { memoryLimitInBytes: 32 * 1024 * 1024, cpuShares: 102, cpuQuota: 50_000, cpuPeriod: 100_000 },
      security: plainSecurity,
    });

    const runSandbox = (): Promise<string> => under.settle(cri.runPodSandbox(sandboxConfig(), ''));
    const create = (sandboxId: string, workload: Workload, attempt = 0): Promise<string> =>
      under.settle(cri.createContainer(sandboxId, containerConfig(workload, attempt), sandboxConfig()));
    const start = async (sandboxId: string, workload: Workload, attempt = 0): Promise<string> => {
      const id = await create(sandboxId, workload, attempt);
      await under.settle(cri.startContainer(id));
      return id;
    };
    const code = async (promise: Promise<unknown>): Promise<string> => {
      try {
        await under.settle(promise);
        return 'no error';
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        return error.code;
      }
    };
    const until = async <T>(what: string, check: () => Promise<T | undefined> | T | undefined): Promise<T> => {
      for (let tries = 0; tries < 400; tries++) {
        const result = await check();
        if (result !== undefined) return result;
        await under.pass();
      }
      throw new Error(`${what} did not come`);
    };
    const exited = (id: string): Promise<ContainerStatus> =>
      until(`end of container ${id}`, async () => {
        const status = await cri.containerStatus(id);
        return status.state === 'EXITED' ? status : undefined;
      });

    test('speaks v1 and is ready', async () => {
      expect((await cri.version()).runtimeApiVersion).toBe('v1');
      const { conditions } = await cri.status();
      const ready = conditions.filter(({ status }) => status).map(({ type }) => type);
      expect(ready).toEqual(expect.arrayContaining(['RuntimeReady', 'NetworkReady']));
      await cri.updateRuntimeConfig('10.244.1.0/24');
    });

    describe('sandboxes', () => {
      test('run, are listed, stop and are removed; stopping and removing twice is fine', async () => {
        const before = Date.now();
        const id = await runSandbox();
        const status = await cri.podSandboxStatus(id);
        expect(status).toMatchObject({
          id,
          state: 'READY',
          metadata: sandboxConfig().metadata,
          labels: sandboxConfig().labels,
          annotations: sandboxConfig().annotations,
          namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' },
        });
        expect(status.ips).toHaveLength(1);
        expect(status.ips[0]).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
        expect(Math.abs(status.createdAt - before)).toBeLessThan(400 * 24 * 3600 * 1000);

        expect((await cri.listPodSandbox({ id })).map((s) => s.state)).toEqual(['READY']);
        expect((await cri.listPodSandbox({ labels: { pod } })).map((s) => s.id)).toEqual([id]);
        expect(await cri.listPodSandbox({ labels: { pod, suite: 'another' } })).toEqual([]);

        await under.settle(cri.stopPodSandbox(id));
        await under.settle(cri.stopPodSandbox(id));
        const stopped = await cri.podSandboxStatus(id);
        expect(stopped.state).toBe('NOTREADY');
        expect(stopped.ips).toEqual([]);

        await under.settle(cri.removePodSandbox(id));
        await under.settle(cri.removePodSandbox(id));
        expect(await code(cri.podSandboxStatus(id))).toBe('NotFound');
        expect(await cri.listPodSandbox({ labels: { pod } })).toEqual([]);
      });

      test('keep name and attempt to themselves until they are removed', async () => {
        const first = await runSandbox();
        expect(await code(cri.runPodSandbox(sandboxConfig(), ''))).toBe('AlreadyExists');
        const second = await under.settle(cri.runPodSandbox(sandboxConfig(pod, 1), ''));
        const [a, b] = [await cri.podSandboxStatus(first), await cri.podSandboxStatus(second)];
        expect(a.ips).not.toEqual(b.ips);
        await under.settle(cri.removePodSandbox(first));
        const third = await runSandbox();
        expect(third).not.toBe(first);
        await under.settle(cri.removePodSandbox(second));
        await under.settle(cri.removePodSandbox(third));
      });

      test('on the host network have no address of their own', async () => {
        const config = sandboxConfig();
        const linux = {
          ...config.linux,
          namespaceOptions: { ...config.linux.namespaceOptions, network: 'NODE' as const },
        };
        // There is no host name to set in the node's own UTS namespace.
        expect(await code(cri.runPodSandbox({ ...config, linux }, ''))).toBe('Internal');
        const id = await under.settle(cri.runPodSandbox({ ...config, linux, hostname: '' }, ''));
        const status = await cri.podSandboxStatus(id);
        expect(status.ips).toEqual([]);
        expect(status.namespaceOptions.network).toBe('NODE');
        await under.settle(cri.removePodSandbox(id));
      });

      test('of an unknown runtime handler are refused', async () => {
        expect(await code(cri.runPodSandbox(sandboxConfig(), 'no-such-handler'))).toBe('Internal');
        expect(await cri.listPodSandbox({ labels: { pod } })).toEqual([]);
      });

      test('that stop end their containers; that are removed take them along', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'stubborn');
        await under.settle(cri.stopPodSandbox(sandbox));
        expect(await exited(id)).toMatchObject({ exitCode: 137, reason: 'Error' });
        await under.settle(cri.removePodSandbox(sandbox));
        expect(await code(cri.containerStatus(id))).toBe('NotFound');
        expect(await cri.listContainers({ podSandboxId: sandbox })).toEqual([]);
      });

      test('may be removed while they run', async () => {
        const sandbox = await runSandbox();
        await start(sandbox, 'obedient');
        await under.settle(cri.removePodSandbox(sandbox));
        expect(await cri.listPodSandbox({ labels: { pod } })).toEqual([]);
        expect(await cri.listContainers({ podSandboxId: sandbox })).toEqual([]);
      });
    });

    describe('containers', () => {
      test('go from CREATED over RUNNING to EXITED, and keep what they were given', async () => {
        const sandbox = await runSandbox();
        const id = await create(sandbox, 'obedient');
        expect(await cri.containerStatus(id)).toMatchObject({
          id,
          state: 'CREATED',
          metadata: { name: 'obedient', attempt: 0 },
          startedAt: 0,
          finishedAt: 0,
          exitCode: 0,
          reason: '',
          labels: containerConfig('obedient').labels,
          annotations: containerConfig('obedient').annotations,
          logPath: `${under.logDirectory(pod)}/obedient/0.log`,
        });
        await under.settle(cri.startContainer(id));
        const running = await cri.containerStatus(id);
        expect(running.state).toBe('RUNNING');
        expect(running.startedAt).toBeGreaterThanOrEqual(running.createdAt);
        expect(await cri.listContainers({ podSandboxId: sandbox })).toMatchObject([
          { id, podSandboxId: sandbox, state: 'RUNNING', metadata: { name: 'obedient', attempt: 0 } },
        ]);

        await under.obeys(id);
        await under.settle(cri.stopContainer(id, 10));
        await under.settle(cri.stopContainer(id, 10));
        const ended = await cri.containerStatus(id);
        expect(ended).toMatchObject({ state: 'EXITED', exitCode: 3, reason: 'Error' });
        expect(ended.finishedAt).toBeGreaterThanOrEqual(ended.startedAt);

        await under.settle(cri.removeContainer(id));
        await under.settle(cri.removeContainer(id));
        expect(await code(cri.containerStatus(id))).toBe('NotFound');
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('that end by themselves tell their exit code', async () => {
        const sandbox = await runSandbox();
        const failing = await start(sandbox, 'failing');
        const done = await start(sandbox, 'done');
        expect(await exited(failing)).toMatchObject({ exitCode: 7, reason: 'Error' });
        expect(await exited(done)).toMatchObject({ exitCode: 0, reason: 'Completed' });
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('that exceed their memory are OOMKilled', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'eater');
        // containerd 1.6 may tell the reason before the end, or after it.
        const status = await until('the end for lack of memory', async () => {
          const now = await cri.containerStatus(id);
          return now.state === 'EXITED' && now.reason === 'OOMKilled' ? now : undefined;
        });
        expect(status.exitCode).toBe(137);
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('that ignore the stop signal are killed after the grace', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'stubborn');
        await under.settle(cri.stopContainer(id, 1));
        expect(await cri.containerStatus(id)).toMatchObject({ state: 'EXITED', exitCode: 137, reason: 'Error' });
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('without grace are killed at once', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        await under.settle(cri.stopContainer(id, 0));
        expect(await cri.containerStatus(id)).toMatchObject({ state: 'EXITED', exitCode: 137 });
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('whose command is missing say StartError', async () => {
        const sandbox = await runSandbox();
        const id = await create(sandbox, 'missing');
        expect(await code(cri.startContainer(id))).toBe('Internal');
        const status = await cri.containerStatus(id);
        expect(status).toMatchObject({ state: 'EXITED', exitCode: 128, reason: 'StartError', startedAt: 0 });
        expect(status.message).toContain('failed to create containerd task');
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('cannot be started twice, nor after their end', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        expect(await code(cri.startContainer(id))).toBe('Conflict');
        await under.settle(cri.stopContainer(id, 10));
        expect(await code(cri.startContainer(id))).toBe('Conflict');
        expect(await code(cri.startContainer('no-such-container'))).toBe('NotFound');
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('need an image, a running sandbox, and a name of their own', async () => {
        const sandbox = await runSandbox();
        const id = await create(sandbox, 'obedient');
        expect(await code(create(sandbox, 'obedient'))).toBe('AlreadyExists');
        const imageless = { ...containerConfig('done'), image: 'nowhere.invalid/none:1' };
        expect(await code(cri.createContainer(sandbox, imageless, sandboxConfig()))).toBe('NotFound');
        expect(await code(create('no-such-sandbox', 'done'))).toBe('NotFound');
        await under.settle(cri.stopPodSandbox(sandbox));
        // containerd 2 makes it, and refuses to start it.
        const late = await create(sandbox, 'done').catch((error: unknown) => error);
        if (typeof late === 'string') expect(await code(cri.startContainer(late))).toBe('Conflict');
        else expect(late).toMatchObject({ code: 'NotFound' });
        expect(await code(cri.startContainer(id))).toBe('Conflict');
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('of the next attempt live beside the ended one', async () => {
        const sandbox = await runSandbox();
        const first = await start(sandbox, 'failing', 0);
        await exited(first);
        const second = await start(sandbox, 'obedient', 0);
        const third = await create(sandbox, 'failing', 1);
        const listed = await cri.listContainers({ podSandboxId: sandbox });
        expect(new Set(listed.map((c) => c.id))).toEqual(new Set([first, second, third]));
        expect(
          (await cri.listContainers({ labels: { container: 'failing', attempt: '1' } })).map((c) => c.id),
        ).toContain(third);
        expect((await cri.listContainers({ id: second })).map((c) => c.id)).toEqual([second]);
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('may be removed while they run; unknown ones are stopped and removed without a word', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        await under.settle(cri.removeContainer(id));
        expect(await code(cri.containerStatus(id))).toBe('NotFound');
        await under.settle(cri.stopContainer('no-such-container', 1));
        await under.settle(cri.removeContainer('no-such-container'));
        await under.settle(cri.stopPodSandbox('no-such-sandbox'));
        await under.settle(cri.removePodSandbox('no-such-sandbox'));
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('that were never started stay CREATED when stopped', async () => {
        const sandbox = await runSandbox();
        const id = await create(sandbox, 'obedient');
        await under.settle(cri.stopContainer(id, 1));
        expect((await cri.containerStatus(id)).state).toBe('CREATED');
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('take new limits while they run', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        await under.settle(
          cri.updateContainerResources(id, { memoryLimitInBytes: 48 * 1024 * 1024, cpuQuota: 70_000 }),
        );
        expect((await cri.containerStatus(id)).resources).toMatchObject({
          memoryLimitInBytes: 48 * 1024 * 1024,
          cpuQuota: 70_000,
          cpuShares: 102,
        });
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('have figures while they run', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        const stats = await cri.containerStats(id);
        expect(stats).toMatchObject({ id, metadata: { name: 'obedient', attempt: 0 } });
        expect(stats.cpu?.usageCoreNanoSeconds).toBeGreaterThanOrEqual(0);
        expect(stats.memory?.workingSetBytes).toBeGreaterThanOrEqual(0);
        expect((await cri.listContainerStats({ podSandboxId: sandbox })).map((s) => s.id)).toEqual([id]);
        const ofPod = await cri.podSandboxStats(sandbox);
        expect(ofPod.metadata.name).toBe(pod);
        expect(ofPod.processCount).toBeGreaterThanOrEqual(2);
        expect((await cri.listPodSandboxStats({ id: sandbox })).map((s) => s.id)).toEqual([sandbox]);
        await under.settle(cri.removePodSandbox(sandbox));
      });
    });

    describe('commands in containers', () => {
      test('answer output and exit code', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        const result = await under.settle(cri.execSync(id, under.execCommand, 10));
        expect(result.stdout.toString()).toBe('out');
        expect(result.stderr.toString()).toBe('err');
        expect(result.exitCode).toBe(4);
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('are ended at their timeout, or when the caller gives up', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        expect(await code(cri.execSync(id, under.execForever, 1))).toBe('DeadlineExceeded');
        const controller = new AbortController();
        const given = code(cri.execSync(id, under.execForever, 60, controller.signal));
        await under.pass();
        controller.abort();
        expect(await given).toBe('Aborted');
        expect((await cri.containerStatus(id)).state).toBe('RUNNING');
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('need a running container', async () => {
        const sandbox = await runSandbox();
        const id = await create(sandbox, 'obedient');
        expect(await code(cri.execSync(id, under.execCommand, 1))).toBe('Conflict');
        expect(await code(cri.execSync('no-such-container', under.execCommand, 1))).toBe('NotFound');
        await under.settle(cri.removePodSandbox(sandbox));
      });

      test('and ports are to be had as streams', async () => {
        const sandbox = await runSandbox();
        const id = await start(sandbox, 'obedient');
        const wanted = { containerId: id, tty: false, stdin: false, stdout: true, stderr: true };
        const urls = [
          await cri.exec({ ...wanted, command: ['true'] }),
          await cri.attach(wanted),
          await cri.portForward(sandbox, [80]),
        ];
        expect(urls.map((url) => new URL(url).pathname.split('/')[1])).toEqual(['exec', 'attach', 'portforward']);
        await under.settle(cri.removePodSandbox(sandbox));
      });
    });

    test('knows its images', async () => {
      const image = await cri.imageStatus(under.image);
      expect(image?.repoTags).toContain(under.image);
      expect(image?.size).toBeGreaterThan(0);
      expect((await cri.imageStatus(image?.id ?? ''))?.id).toBe(image?.id);
      expect((await cri.listImages()).map((i) => i.id)).toContain(image?.id);
      expect(await cri.imageStatus('nowhere.invalid/none:1')).toBeUndefined();
      await cri.removeImage('nowhere.invalid/none:1');
      expect(await code(cri.pullImage('nowhere.invalid/none:1', sandboxConfig()))).not.toBe('no error');
      expect((await cri.imageFsInfo()).imageFilesystems.length).toBeGreaterThan(0);
    });

    test('gives up a call whose caller has already gone', async () => {
      expect(await code(cri.version(AbortSignal.abort()))).toBe('Aborted');
      const id = await code(cri.runPodSandbox(sandboxConfig(), '', AbortSignal.abort()));
      expect(id).toBe('Aborted');
      expect(await cri.listPodSandbox({ labels: { pod } })).toEqual([]);
    });

    test('tells what happens, and after each stop answers accordingly', async () => {
      const controller = new AbortController();
      const events: RuntimeEvent[] = [];
      const states: Promise<string>[] = [];
      let gaps = 0;
      const watching = cri.watchEvents(
        {
          onEvent: (event) => {
            events.push(event);
            if (event.type === 'stopped')
              states.push(
                cri.containerStatus(event.id).then(
                  (s) => s.state,
                  () => 'gone',
                ),
              );
          },
          onGap: () => gaps++,
        },
        controller.signal,
      );
      await until('the first gap', () => (gaps > 0 ? true : undefined));
      expect(gaps).toBe(1);

      const sandbox = await runSandbox();
      const id = await start(sandbox, 'failing');
      const of = (id: string): string[] => events.filter((event) => event.id === id).map((event) => event.type);
      await until('the stop', () => (of(id).includes('stopped') ? true : undefined));
      expect(of(id).filter((type) => type !== 'exited')).toEqual(['created', 'started', 'stopped']);
      expect(await Promise.all(states)).toEqual(['EXITED']);
      await under.settle(cri.removeContainer(id));
      await until('the deletion', () => (of(id).includes('deleted') ? true : undefined));
      await under.settle(cri.stopPodSandbox(sandbox));
      await until('the end of the sandbox', () => (of(sandbox).includes('stopped') ? true : undefined));
      expect((await cri.podSandboxStatus(sandbox)).state).toBe('NOTREADY');
      await under.settle(cri.removePodSandbox(sandbox));

      controller.abort();
      expect(await watching).toBe('aborted');
      const seen = events.length;
      const last = await runSandbox();
      await under.settle(cri.removePodSandbox(last));
      expect(events.length).toBe(seen);
    });

    test('fails at once while it is away, and is itself again when it is back', async () => {
      const sandbox = await runSandbox();
      const id = await start(sandbox, 'obedient');
      const controller = new AbortController();
      let gaps = 0;
      const events: RuntimeEvent[] = [];
      const watching = cri.watchEvents(
        { onEvent: (event) => events.push(event), onGap: () => gaps++ },
        controller.signal,
      );
      await until('the first gap', () => (gaps === 1 ? true : undefined));
      const inFlight = code(cri.execSync(id, under.execForever, 60));
      await under.pass();

      await under.stopRuntime();
      expect(await inFlight).toBe('Unavailable');
      const started = performance.now();
      for (let calls = 0; calls < 5; calls++) expect(await code(cri.listContainers())).toBe('Unavailable');
      expect(performance.now() - started).toBeLessThan(1000);
      await under.startRuntime();
      const back = performance.now();
      await until('an answer', async () => ((await code(cri.version())) === 'no error' ? true : undefined));
      expect(performance.now() - back).toBeLessThan(1500);

      expect((await cri.containerStatus(id)).state).toBe('RUNNING');
      await until('the second gap', () => (gaps === 2 ? true : undefined));
      await under.settle(cri.stopContainer(id, 10));
      await until('the stop', () => (events.some((e) => e.id === id && e.type === 'stopped') ? true : undefined));
      controller.abort();
      await watching;
      await under.settle(cri.removePodSandbox(sandbox));
    });
  });
}
