import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PodSandboxConfig, RuntimeEvent } from '../../../../src/host/cri/port.ts';
import { RealCri } from '../../../../src/host/cri/real.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import { waitFor } from '../../../harness/wait-for.ts';
import { RawRuntime } from './support/raw-runtime.ts';

const sandboxConfig: PodSandboxConfig = {
  metadata: { name: 'web', uid: 'u1', namespace: 'shop', attempt: 2 },
  hostname: 'web',
  logDirectory: '/var/log/pods/shop_web_u1',
  dnsConfig: { servers: ['10.96.0.10'], searches: ['a.b'], options: ['ndots:5'] },
  portMappings: [{ protocol: 'SCTP', containerPort: 80, hostPort: 8080, hostIp: '127.0.0.1' }],
  labels: { a: 'b' },
  annotations: { c: 'd' },
  linux: {
    cgroupParent: '/kubepods/pod1',
    namespaceOptions: { network: 'NODE', pid: 'TARGET', ipc: 'CONTAINER', targetId: 't1' },
    runAsUser: 0,
    runAsGroup: 5,
    supplementalGroups: [7, 4_294_967_294],
    supplementalGroupsPolicy: 'Strict',
    seccomp: { type: 'Localhost', localhostRef: '/p.json' },
    apparmor: { type: 'Unconfined' },
    sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
    overhead: { cpuShares: 10 },
    resources: { cpuQuota: -1, memoryLimitInBytes: 2 ** 40, memorySwapLimitInBytes: -1 },
  },
};

async function failure(promise: Promise<unknown>): Promise<CodedError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new Error('did not fail');
}

describe('RealCri', () => {
  let runtime: RawRuntime;
  let cri: RealCri;

  beforeEach(async () => {
    runtime = new RawRuntime();
    await runtime.start();
    cri = new RealCri({ endpoint: runtime.endpoint });
  });
  afterEach(() => {
    cri.close();
    runtime.close();
  });

  test('writes a sandbox config as the wire contract has it', async () => {
    runtime.answer('RunPodSandbox', { podSandboxId: 's1' });
    expect(await cri.runPodSandbox(sandboxConfig, 'gvisor')).toBe('s1');
    expect(runtime.requests('RunPodSandbox')).toEqual([
      {
        runtimeHandler: 'gvisor',
        config: {
          metadata: { name: 'web', uid: 'u1', namespace: 'shop', attempt: 2 },
          hostname: 'web',
          logDirectory: '/var/log/pods/shop_web_u1',
          dnsConfig: { servers: ['10.96.0.10'], searches: ['a.b'], options: ['ndots:5'] },
          portMappings: [{ protocol: 'SCTP', containerPort: 80, hostPort: 8080, hostIp: '127.0.0.1' }],
          labels: { a: 'b' },
          annotations: { c: 'd' },
          linux: {
            cgroupParent: '/kubepods/pod1',
            securityContext: {
              namespaceOptions: { network: 'NODE', pid: 'TARGET', ipc: 'CONTAINER', targetId: 't1' },
              // Present although zero: absent would mean "as the image says".
              runAsUser: { value: 0 },
              runAsGroup: { value: 5 },
              supplementalGroups: [7, 4_294_967_294],
              supplementalGroupsPolicy: 'Strict',
              seccomp: { profileType: 'Localhost', localhostRef: '/p.json' },
              apparmor: { profileType: 'Unconfined' },
            },
            sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
            overhead: { cpuShares: 10 },
            resources: { cpuQuota: -1, memoryLimitInBytes: 2 ** 40, memorySwapLimitInBytes: -1 },
          },
        },
      },
    ]);
  });

  test('writes a container config as the wire contract has it', async () => {
    runtime.answer('CreateContainer', { containerId: 'c1' });
    await cri.createContainer(
      's1',
      {
        metadata: { name: 'app', attempt: 3 },
        image: 'sha256:abc',
        userSpecifiedImage: 'web:1',
        command: ['/bin/web'],
        args: ['--port', '80'],
        workingDir: '/srv',
        envs: [{ key: 'GREETING', value: 'grüß Gott' }],
        mounts: [
          {
            containerPath: '/data',
            hostPath: '/var/lib/data',
            readonly: true,
            selinuxRelabel: true,
            propagation: 'BIDIRECTIONAL',
            recursiveReadOnly: true,
          },
        ],
        devices: [{ containerPath: '/dev/fuse', hostPath: '/dev/fuse', permissions: 'rwm' }],
        labels: { a: 'b' },
        annotations: {},
        logPath: 'app/3.log',
        stdin: true,
        stdinOnce: true,
        tty: true,
        resources: { hugepageLimits: [{ pageSize: '2MB', limit: 4 * 2 ** 20 }], unified: { 'memory.high': '1G' } },
        security: {
          addCapabilities: ['NET_ADMIN'],
          dropCapabilities: ['ALL'],
          privileged: true,
          namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' },
          selinuxOptions: { user: 'u', role: 'r', type: 't', level: 's0' },
          runAsUsername: 'web',
          readonlyRootfs: true,
          supplementalGroups: [9],
          noNewPrivs: true,
          maskedPaths: ['/proc/kcore'],
          readonlyPaths: ['/proc/sys'],
          seccomp: { type: 'RuntimeDefault' },
        },
      },
      sandboxConfig,
    );
    expect(runtime.requests('CreateContainer')[0]).toMatchObject({
      podSandboxId: 's1',
      config: {
        metadata: { name: 'app', attempt: 3 },
        image: { image: 'sha256:abc', userSpecifiedImage: 'web:1' },
        command: ['/bin/web'],
        args: ['--port', '80'],
        workingDir: '/srv',
        envs: [{ key: 'GREETING', value: 'grüß Gott' }],
        mounts: [
          {
            containerPath: '/data',
            hostPath: '/var/lib/data',
            readonly: true,
            selinuxRelabel: true,
            propagation: 'PROPAGATION_BIDIRECTIONAL',
            recursiveReadOnly: true,
          },
        ],
        devices: [{ containerPath: '/dev/fuse', hostPath: '/dev/fuse', permissions: 'rwm' }],
        logPath: 'app/3.log',
        stdin: true,
        stdinOnce: true,
        tty: true,
        linux: {
          resources: { hugepageLimits: [{ pageSize: '2MB', limit: 4 * 2 ** 20 }], unified: { 'memory.high': '1G' } },
          securityContext: {
            capabilities: { addCapabilities: ['NET_ADMIN'], dropCapabilities: ['ALL'] },
            privileged: true,
            namespaceOptions: { pid: 'CONTAINER' },
            selinuxOptions: { user: 'u', role: 'r', type: 't', level: 's0' },
            runAsUsername: 'web',
            readonlyRootfs: true,
            supplementalGroups: [9],
            noNewPrivs: true,
            maskedPaths: ['/proc/kcore'],
            readonlyPaths: ['/proc/sys'],
            seccomp: { profileType: 'RuntimeDefault' },
          },
        },
      },
      sandboxConfig: { metadata: { name: 'web' } },
    });
  });

  test('reads a container status, with times to the microsecond and limits below zero', async () => {
    runtime.answer('ContainerStatus', {
      status: {
        id: 'c1',
        metadata: { name: 'app', attempt: 3 },
        state: 2,
        createdAt: '1795416932850201216',
        startedAt: '1795416932950201216',
        finishedAt: 0,
        exitCode: 137,
        image: { image: 'web:1' },
        imageRef: 'web@sha256:1',
        imageId: 'sha256:2',
        reason: 'OOMKilled',
        message: 'm',
        labels: { a: 'b' },
        mounts: [{ containerPath: '/data', hostPath: '/h', readonly: true, propagation: 1 }],
        logPath: '/l',
        resources: { linux: { cpuQuota: -1, memoryLimitInBytes: 64, hugepageLimits: [{ pageSize: '2MB', limit: 2 }] } },
        user: { linux: { uid: 1000, gid: 1001, supplementalGroups: [1, 2] } },
      },
    });
    const status = await cri.containerStatus('c1');
    // A double holds a quarter of a microsecond at this distance from the epoch.
    expect(Math.abs(status.createdAt - 1795416932850.2012)).toBeLessThan(0.0006);
    expect(status.startedAt - status.createdAt).toBeCloseTo(100, 2);
    expect(status).toEqual({
      id: 'c1',
      metadata: { name: 'app', attempt: 3 },
      state: 'EXITED',
      createdAt: expect.any(Number),
      startedAt: expect.any(Number),
      finishedAt: 0,
      exitCode: 137,
      image: 'web:1',
      imageRef: 'web@sha256:1',
      imageId: 'sha256:2',
      reason: 'OOMKilled',
      message: 'm',
      labels: { a: 'b' },
      annotations: {},
      mounts: [
        {
          containerPath: '/data',
          hostPath: '/h',
          readonly: true,
          selinuxRelabel: false,
          propagation: 'HOST_TO_CONTAINER',
          recursiveReadOnly: false,
        },
      ],
      logPath: '/l',
      resources: { cpuQuota: -1, memoryLimitInBytes: 64, hugepageLimits: [{ pageSize: '2MB', limit: 2 }] },
      user: { uid: 1000, gid: 1001, supplementalGroups: [1, 2] },
    });
  });

  test('reads pod addresses, the first one first', async () => {
    runtime.answer('PodSandboxStatus', {
      status: {
        id: 's1',
        metadata: { name: 'web', uid: 'u1', namespace: 'shop' },
        state: 1,
        network: { ip: '10.0.0.2', additionalIps: [{ ip: 'fd00::2' }] },
        linux: { namespaces: { options: { network: 2, pid: 1, ipc: 0 } } },
      },
    });
    expect(await cri.podSandboxStatus('s1')).toMatchObject({
      state: 'NOTREADY',
      ips: ['10.0.0.2', 'fd00::2'],
      namespaceOptions: { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' },
    });
  });

  test('reads figures, and tells none from zero', async () => {
    const attributes = { id: 'c1', metadata: { name: 'app' } };
    runtime.answer('ListContainerStats', {
      stats: [
        {
          attributes,
          cpu: { timestamp: '1795416932850201216', usageCoreNanoSeconds: { value: '9007199254740991' } },
          memory: { workingSetBytes: { value: 5 }, rssBytes: { value: 0 } },
        },
        { attributes },
      ],
    });
    const [full, empty] = await cri.listContainerStats();
    expect(full?.cpu).toEqual({ atMs: 1795416932850.2012, usageCoreNanoSeconds: 9007199254740991 });
    expect(full?.memory).toEqual({ atMs: 0, workingSetBytes: 5, rssBytes: 0 });
    expect(empty).not.toHaveProperty('cpu');
    expect(empty).not.toHaveProperty('memory');
  });

  test('tells the cgroup driver, handlers and features', async () => {
    runtime.answer('RuntimeConfig', { linux: { cgroupDriver: 0 } });
    expect(await cri.runtimeConfig()).toEqual({ cgroupDriver: 'systemd' });
    runtime.answer('RuntimeConfig', { linux: { cgroupDriver: 1 } });
    expect(await cri.runtimeConfig()).toEqual({ cgroupDriver: 'cgroupfs' });
    runtime.answer('Status', {
      status: {
        conditions: [{ type: 'NetworkReady', status: false, reason: 'NetworkPluginNotReady', message: 'cni' }],
      },
      runtimeHandlers: [{ name: 'runc', features: { recursiveReadOnlyMounts: true } }, { name: 'old' }],
      features: { supplementalGroupsPolicy: true },
    });
    expect(await cri.status()).toEqual({
      conditions: [{ type: 'NetworkReady', status: false, reason: 'NetworkPluginNotReady', message: 'cni' }],
      runtimeHandlers: [
        { name: 'runc', recursiveReadOnlyMounts: true, userNamespaces: false },
        { name: 'old', recursiveReadOnlyMounts: false, userNamespaces: false },
      ],
      supplementalGroupsPolicy: true,
    });
  });

  test('refuses a runtime of another API version at the start', async () => {
    runtime.answer('Version', { runtimeName: 'old', runtimeVersion: '1.0', runtimeApiVersion: 'v1alpha2' });
    const error = await failure(cri.checkApi());
    expect(error.code).toBe('Unimplemented');
    expect(error.message).toBe('container runtime old 1.0 speaks CRI v1alpha2, required is v1');
    runtime.answer('Version', { runtimeName: 'new', runtimeVersion: '2.0', runtimeApiVersion: 'v1' });
    expect((await cri.checkApi()).runtimeName).toBe('new');
  });

  describe('deadlines', () => {
    const within = (method: string): number | undefined =>
      runtime.calls.findLast((call) => call.method === method)?.deadlineMs;
    const near = (seconds: number): [number, number] => [seconds * 1000 - 2000, seconds * 1000];

    test.each([
      ['ListContainers', 120, () => cri.listContainers()],
      ['RunPodSandbox', 240, () => cri.runPodSandbox(sandboxConfig, '')],
      ['StopContainer', 150, () => cri.stopContainer('c', 30)],
      ['ExecSync', 125, () => cri.execSync('c', ['true'], 5)],
      ['CheckpointContainer', 9, () => cri.checkpointContainer('c', '/x', 9)],
    ] as const)('%s has %d s', async (method, seconds, call) => {
      await failure(call());
      const [low, high] = near(seconds);
      expect(within(method)).toBeGreaterThan(low);
      expect(within(method)).toBeLessThanOrEqual(high);
    });

    test('a pull and an exec without timeout have none', async () => {
      await failure(cri.pullImage('web:1', sandboxConfig));
      await failure(cri.execSync('c', ['true'], 0));
      expect(runtime.calls.map((call) => call.deadlineMs)).toEqual([undefined, undefined]);
    });

    test('follow runtimeRequestTimeout, and are kept when the runtime is silent', async () => {
      const impatient = new RealCri({ endpoint: runtime.endpoint, requestTimeoutMs: 200 });
      runtime.on('ListContainers', { silent: true });
      const started = performance.now();
      const error = await failure(impatient.listContainers());
      expect(error.code).toBe('DeadlineExceeded');
      expect(performance.now() - started).toBeLessThan(2000);
      impatient.close();
    });

    test('a timeout below one second is not "none"', async () => {
      runtime.answer('ExecSync', { stdout: Buffer.from('x'), exitCode: 0 });
      await cri.execSync('c', ['true'], 0.2);
      expect(runtime.requests('ExecSync')[0]).toMatchObject({ timeout: 1 });
    });
  });

  test.each([
    [1, 'cancelled', 'Aborted'],
    [2, 'some words', 'Internal'],
    [2, 'name "x" is reserved for "y"', 'AlreadyExists'],
    [9, 'name "x" is reserved for "y"', 'AlreadyExists'],
    [2, 'container is in CONTAINER_EXITED state', 'Conflict'],
    [2, 'server is not initialized yet', 'Unavailable'],
    [3, 'bad', 'InvalidArgument'],
    [4, 'late', 'DeadlineExceeded'],
    [5, 'none', 'NotFound'],
    [6, 'two', 'AlreadyExists'],
    [7, 'no', 'Forbidden'],
    [8, 'much', 'ResourceExhausted'],
    [9, 'state', 'Conflict'],
    [12, 'what', 'Unimplemented'],
    [13, 'oh', 'Internal'],
    [14, 'away', 'Unavailable'],
    [16, 'who', 'Unauthorized'],
  ])('a status %d "%s" is %s', async (code, details, expected) => {
    runtime.on('StartContainer', { code, details });
    const error = await failure(cri.startContainer('c1'));
    expect(error.code).toBe(expected);
    expect(error.message).toBe(`StartContainer c1: ${details}`);
    expect(error.metadata['runtimeMessage']).toBe(details);
  });

  test('stopping and removing what the runtime does not know succeeds', async () => {
    for (const method of ['StopContainer', 'RemoveContainer', 'StopPodSandbox', 'RemovePodSandbox', 'RemoveImage']) {
      runtime.on(method, { code: 5, details: 'not found' });
    }
    await cri.stopContainer('c', 1);
    await cri.removeContainer('c');
    await cri.stopPodSandbox('s');
    await cri.removePodSandbox('s');
    await cri.removeImage('i');
    runtime.on('RemoveContainer', { code: 13, details: 'disk' });
    expect((await failure(cri.removeContainer('c'))).code).toBe('Internal');
  });

  test('gives up at once when the caller does, and lets go of the signal', async () => {
    runtime.on('PullImage', { silent: true });
    const controller = new AbortController();
    const pulling = failure(cri.pullImage('web:1', sandboxConfig, undefined, controller.signal));
    await waitFor('the call', () => runtime.calls.length === 1);
    controller.abort();
    expect((await pulling).code).toBe('Aborted');
  });

  test('close ends what is under way; later calls fail', async () => {
    runtime.on('PullImage', { silent: true });
    const pulling = failure(cri.pullImage('web:1', sandboxConfig));
    await waitFor('the call', () => runtime.calls.length === 1);
    cri.close();
    expect((await pulling).code).toBe('Aborted');
    expect((await failure(cri.version())).code).toBe('Unavailable');
  });

  test('takes answers of up to 16 MiB, and refuses larger ones without harm', async () => {
    const listed = (bytes: number): object => ({ containers: [{ id: 'c', labels: { a: 'x'.repeat(bytes) } }] });
    runtime.answer('ListContainers', listed(15 * 2 ** 20));
    expect((await cri.listContainers())[0]?.labels['a']).toHaveLength(15 * 2 ** 20);
    runtime.answer('ListContainers', listed(17 * 2 ** 20));
    expect((await failure(cri.listContainers())).code).toBe('ResourceExhausted');
    runtime.answer('ListContainers', listed(1));
    expect(await cri.listContainers()).toHaveLength(1);
  });

  test('asks an image service of its own where there is one', async () => {
    const images = new RawRuntime();
    await images.start();
    images.answer('ListImages', { images: [{ id: 'i1', size: '9007199254740991', uid: { value: 0 } }] });
    const both = new RealCri({ endpoint: runtime.endpoint, imageEndpoint: images.endpoint });
    expect(await both.listImages()).toEqual([
      { id: 'i1', repoTags: [], repoDigests: [], size: 9007199254740991, uid: 0, username: '', pinned: false },
    ]);
    expect(runtime.calls).toEqual([]);
    both.close();
    images.close();
  });

  test('counts calls, failures and times under kubelet names', async () => {
    const metrics = new Metrics();
    const measured = new RealCri({ endpoint: runtime.endpoint }, { metrics });
    runtime.answer('Version', { runtimeApiVersion: 'v1' });
    await measured.version();
    await failure(measured.containerStatus('c'));
    await failure(measured.runPodSandbox(sandboxConfig, 'gvisor'));
    measured.close();
    const lines = (await metrics.text()).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'kubelet_runtime_operations_total{operation_type="version"} 1',
        'kubelet_runtime_operations_total{operation_type="container_status"} 1',
        'kubelet_runtime_operations_errors_total{operation_type="container_status"} 1',
        'kubelet_runtime_operations_duration_seconds_count{operation_type="version"} 1',
        'kubelet_run_podsandbox_errors_total{runtime_handler="gvisor"} 1',
        'kubelet_run_podsandbox_duration_seconds_count{runtime_handler="gvisor"} 1',
      ]),
    );
    expect(
      lines.some((line) => line.startsWith('kubelet_runtime_operations_errors_total{operation_type="version"')),
    ).toBe(false);
  });

  test('only unix sockets are endpoints', () => {
    expect(() => new RealCri({ endpoint: 'tcp://127.0.0.1:1' })).toThrow(/must be a unix socket/);
  });

  describe('events', () => {
    const watch = (): { events: RuntimeEvent[]; gaps: () => number; stop: () => Promise<string> } => {
      const controller = new AbortController();
      const events: RuntimeEvent[] = [];
      let gaps = 0;
      const watching = cri.watchEvents({ onEvent: (e) => events.push(e), onGap: () => gaps++ }, controller.signal);
      return {
        events,
        gaps: () => gaps,
        stop: () => {
          controller.abort();
          return watching;
        },
      };
    };
    const openStream = (method: string): Promise<boolean> =>
      waitFor(`the stream ${method}`, () => runtime.streams.some((open) => open.method === method));

    beforeEach(() => {
      runtime.answer('Version', { runtimeApiVersion: 'v1' });
    });

    test('come from the CRI where the runtime is not containerd', async () => {
      runtime.refuseStream('Subscribe');
      const watcher = watch();
      await openStream('GetContainerEvents');
      await waitFor('the gap', () => watcher.gaps() === 1);
      const podSandboxStatus = { id: 's1', metadata: { uid: 'u1' } };
      runtime.send('GetContainerEvents', {
        containerId: 's1',
        containerEventType: 0,
        createdAt: 1e9,
        podSandboxStatus,
      });
      runtime.send('GetContainerEvents', { containerId: 'c1', containerEventType: 2, createdAt: 2e9 });
      await waitFor('events', () => watcher.events.length === 2);
      expect(watcher.events).toEqual([
        { type: 'created', id: 's1', podUid: 'u1', atMs: 1000 },
        { type: 'stopped', id: 'c1', atMs: 2000 },
      ]);
      expect(await watcher.stop()).toBe('aborted');
    });

    test('come from containerd itself where it is one, and a stop only when the CRI says so', async () => {
      const watcher = watch();
      await openStream('Subscribe');
      await waitFor('the gap', () => watcher.gaps() === 1);
      expect(runtime.requests('Subscribe')[0]).toEqual({
        filters: expect.arrayContaining(['namespace==k8s.io,topic=="/tasks/exit"']),
      });
      const exit = runtime.schema.lookupType('containerd.events.TaskExit');
      const send = (topic: string, message: object, namespace = 'k8s.io'): void =>
        runtime.send('Subscribe', {
          namespace,
          topic,
          timestamp: { seconds: 5, nanos: 0 },
          event: { type_url: 'containerd.events.TaskExit', value: exit.encode(exit.fromObject(message)).finish() },
        });
      let state = 1;
      runtime.on('ContainerStatus', () => {
        const type = runtime.schema.lookupType('runtime.v1.ContainerStatusResponse');
        return { bytes: type.encode(type.fromObject({ status: { id: 'c1', state } })).finish() };
      });
      const exitedAt = { seconds: 1795416932, nanos: 850201216 };
      send('/tasks/exit', { containerId: 'c1', id: 'an-exec', exitStatus: 1, exitedAt });
      send('/tasks/exit', { containerId: 'other', id: 'other', exitStatus: 1, exitedAt }, 'moby');
      send('/tasks/exit', { containerId: 'c1', id: 'c1', exitStatus: 9, exitedAt });
      await waitFor('the exit', () => watcher.events.length === 1);
      expect(watcher.events).toEqual([{ type: 'exited', id: 'c1', exitCode: 9, atMs: 1795416932850.2012 }]);
      await waitFor('looks', () => runtime.requests('ContainerStatus').length >= 3);
      expect(watcher.events).toHaveLength(1);
      state = 2;
      await waitFor('the stop', () => watcher.events.length === 2);
      expect(watcher.events[1]).toEqual({ type: 'stopped', id: 'c1', atMs: 1795416932850.2012 });
      expect(await watcher.stop()).toBe('aborted');
    });

    test('are unsupported where there is neither', async () => {
      runtime.refuseStream('GetContainerEvents');
      runtime.refuseStream('Subscribe');
      const watcher = watch();
      expect(
        await cri.watchEvents({ onEvent: () => undefined, onGap: () => undefined }, new AbortController().signal),
      ).toBe('unsupported');
      await watcher.stop();
    });

    test('go on after the runtime was away, with word of a gap', async () => {
      runtime.refuseStream('Subscribe');
      const watcher = watch();
      await waitFor('the gap', () => watcher.gaps() === 1);
      runtime.stop();
      await waitFor('an unavailable runtime', async () => (await failure(cri.version())).code === 'Unavailable');
      await runtime.start();
      await waitFor('the second gap', () => watcher.gaps() === 2, { timeoutMs: 2500 });
      runtime.send('GetContainerEvents', { containerId: 'c1', containerEventType: 1, createdAt: 1e9 });
      await waitFor('an event', () => watcher.events.length === 1);
      expect(await watcher.stop()).toBe('aborted');
    });

    test('a listener that throws does not end the watch for good', async () => {
      runtime.refuseStream('Subscribe');
      const controller = new AbortController();
      let gaps = 0;
      const watching = cri.watchEvents(
        {
          onEvent: () => {
            throw new Error('a fault of the listener');
          },
          onGap: () => gaps++,
        },
        controller.signal,
      );
      await waitFor('the gap', () => gaps === 1);
      runtime.send('GetContainerEvents', { containerId: 'c1', containerEventType: 1 });
      await waitFor('another connection', () => gaps === 2);
      controller.abort();
      expect(await watching).toBe('aborted');
    });
  });
});
