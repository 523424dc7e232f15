import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CriRuntime, PodSandboxConfig } from '../../../../src/host/cri/port.ts';
import { RealCri } from '../../../../src/host/cri/real.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { pause, waitFor } from '../../../harness/wait-for.ts';
import { RawRuntime } from './support/raw-runtime.ts';

const sandboxConfig: PodSandboxConfig = {
  metadata: { name: 'web', uid: 'u1', namespace: 'shop', attempt: 0 },
  hostname: '',
  logDirectory: '',
  portMappings: [],
  labels: {},
  annotations: {},
  linux: { cgroupParent: '', namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } },
};

/** Every call that reads something from its answer. */
const CALLS: Readonly<Record<string, (cri: CriRuntime) => Promise<unknown>>> = {
  Version: (cri) => cri.version(),
  Status: (cri) => cri.status(),
  RuntimeConfig: (cri) => cri.runtimeConfig(),
  RunPodSandbox: (cri) => cri.runPodSandbox(sandboxConfig, ''),
  PodSandboxStatus: (cri) => cri.podSandboxStatus('s'),
  ListPodSandbox: (cri) => cri.listPodSandbox(),
  ListContainers: (cri) => cri.listContainers(),
  ContainerStatus: (cri) => cri.containerStatus('c'),
  ExecSync: (cri) => cri.execSync('c', ['true'], 1),
  Exec: (cri) => cri.attach({ containerId: 'c', tty: false, stdin: false, stdout: true, stderr: true }),
  StopContainer: (cri) => cri.stopContainer('c', 0),
  ContainerStats: (cri) => cri.containerStats('c'),
  ListContainerStats: (cri) => cri.listContainerStats(),
  PodSandboxStats: (cri) => cri.podSandboxStats('s'),
  ListPodSandboxStats: (cri) => cri.listPodSandboxStats(),
  ListImages: (cri) => cri.listImages(),
  ImageStatus: (cri) => cri.imageStatus('i'),
  PullImage: (cri) => cri.pullImage('i', sandboxConfig),
  ImageFsInfo: (cri) => cri.imageFsInfo(),
};

let runtime: RawRuntime;
let cri: RealCri;

beforeAll(async () => {
  runtime = new RawRuntime();
  await runtime.start();
  cri = new RealCri({ endpoint: runtime.endpoint });
});
afterAll(() => {
  cri.close();
  runtime.close();
});

async function outcome(method: string): Promise<'answer' | CodedError> {
  try {
    await CALLS[method]?.(cri);
    return 'answer';
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
}

test.each(Object.keys(CALLS))('%s survives random bytes', async (method) => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      runtime.on(method, { bytes });
      await outcome(method);
    }),
    { numRuns: 60, seed: 1 },
  );
});

test('every truncation of a list is refused or read, never a crash', async () => {
  const type = runtime.schema.lookupType('runtime.v1.ListContainersResponse');
  const whole = type
    .encode(
      type.fromObject({
        containers: [1, 2, 3].map((n) => ({
          id: `c${n}`,
          podSandboxId: 's',
          metadata: { name: `app${n}`, attempt: n },
          image: { image: 'web:1' },
          state: n,
          createdAt: '1795416932850201216',
          labels: { 'io.kubernetes.pod.name': 'web' },
        })),
      }),
    )
    .finish();
  const refusals: CodedError[] = [];
  for (let length = 0; length < whole.length; length++) {
    runtime.on('ListContainers', { bytes: whole.subarray(0, length) });
    const result = await outcome('ListContainers');
    if (result !== 'answer') refusals.push(result);
  }
  // Only a cut between two containers leaves a whole message.
  expect(refusals.length).toBe(whole.length - 3);
  expect(new Set(refusals.map((error) => error.code))).toEqual(new Set(['Internal']));
  expect(refusals[0]?.message).toMatch(/^ListContainers: /);
});

test('an answer without its main part is refused, with the call and its subject in the message', async () => {
  for (const method of ['PodSandboxStatus', 'ContainerStatus', 'RunPodSandbox', 'PullImage', 'ContainerStats']) {
    runtime.on(method, { bytes: new Uint8Array(0) });
    const result = await outcome(method);
    expect(result).toBeInstanceOf(CodedError);
    expect(String(result)).toContain(`${method} `);
  }
});

test('numbers of states that are not known yet are read as unknown', async () => {
  runtime.answer('ListContainers', { containers: [{ id: 'c1', state: 77 }] });
  expect((await cri.listContainers())[0]).toMatchObject({ id: 'c1', state: 'UNKNOWN', metadata: { name: '' } });
});

test('event streams of random bytes are opened again', async () => {
  runtime.answer('Version', { runtimeApiVersion: 'v1' });
  runtime.refuseStream('Subscribe');
  const controller = new AbortController();
  let gaps = 0;
  const events: string[] = [];
  const watching = cri.watchEvents(
    { onEvent: (event) => events.push(event.id), onGap: () => gaps++ },
    controller.signal,
  );
  await waitFor('the gap', () => gaps === 1);
  // Field 4, a message of five bytes, of which there are two.
  runtime.sendBytes('GetContainerEvents', Buffer.from([0x22, 0x05, 0x0a, 0x00]));
  await waitFor('the second gap', () => gaps === 2);
  runtime.send('GetContainerEvents', { containerId: 'c1', containerEventType: 99 });
  runtime.send('GetContainerEvents', { containerId: 'c2', containerEventType: 2 });
  await waitFor('the event', () => events.length > 0);
  await pause(20);
  expect(events).toEqual(['c2']);
  controller.abort();
  await watching;
});
