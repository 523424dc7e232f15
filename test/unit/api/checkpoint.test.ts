import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { serveCheckpoint } from '../../../src/api/node-info/serve-checkpoint.ts';
import { FakeCri } from '../../../src/host/cri/fake.ts';
import type { ContainerConfig, PodSandboxConfig } from '../../../src/host/cri/port.ts';
import { RealFiles } from '../../../src/host/files/real.ts';
import { RemoteGuard } from '../../../src/host/files/remote-guard.ts';
import { RealMounts } from '../../../src/host/mount/real.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { plainSecurity } from '../../harness/plain-security.ts';

describe('POST /checkpoint, with a runtime that can', () => {
  const pod: Pod = { metadata: { name: 'p', namespace: 'ns', uid: 'u' }, spec: { containers: [{ name: 'c' }] } };
  let rootDir: string;
  let clock: ManualClock;

  beforeEach(() => {
    rootDir = mkdtempSync(join(tmpdir(), 'dhcheckpoint-'));
    clock = new ManualClock();
  });
  afterEach(() => rmSync(rootDir, { recursive: true }));

  async function ask(query: string, options: { checkpoints: boolean; started?: boolean }) {
    const cri = new FakeCri({ checkpoints: options.checkpoints }, { clock });
    const image = 'i:1';
    const { id: ref } = cri.addImage(image);
    const config: PodSandboxConfig = {
      metadata: { name: 'p', namespace: 'ns', uid: 'u', attempt: 0 },
      hostname: 'p',
      logDirectory: rootDir,
      dnsConfig: { servers: [], searches: [], options: [] },
      portMappings: [],
      labels: {},
      annotations: {},
      linux: { cgroupParent: '/p', namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } },
    };
    const sandboxId = await cri.runPodSandbox(config, '', new AbortController().signal);
    const container: ContainerConfig = {
      metadata: { name: 'c', attempt: 0 },
      image: ref,
      userSpecifiedImage: image,
      command: [],
      args: [],
      workingDir: '',
      envs: [],
      mounts: [],
      devices: [],
      labels: {},
      annotations: {},
      logPath: 'c.log',
      stdin: false,
      stdinOnce: false,
      tty: false,
      resources: {},
      security: { ...plainSecurity, namespaceOptions: config.linux.namespaceOptions },
    };
    const id = await cri.createContainer(sandboxId, container, config);
    await cri.startContainer(id);
    const answer = { status: 0, body: '' };
    const response = {
      writeHead: (status: number) => {
        answer.status = status;
        return response;
      },
      setHeader: () => response,
      end: (body: string) => {
        answer.body = String(body);
        return response;
      },
    } as unknown as ServerResponse;
    await serveCheckpoint(
      {
        request: {} as IncomingMessage,
        response,
        caller: { username: 'admin', groups: [] },
        path: '/checkpoint/ns/p/c',
        query: new URLSearchParams(query),
        parameters: { namespace: 'ns', pod: 'p', container: 'c' },
      },
      {
        pods: { values: () => [pod], find: () => pod },
        runtime: {
          get: () => ({
            uid: 'u',
            namespace: 'ns',
            name: 'p',
            sandboxes: [],
            containers:
              options.started === false
                ? []
                : [
                    {
                      id,
                      name: 'c',
                      sandboxId,
                      state: 'RUNNING',
                      restartCount: 0,
                      createdAt: 0,
                      startedAt: 0,
                      image,
                      imageRef: ref,
                      provisional: false,
                    },
                  ],
          }),
          uids: () => ['u'],
          subscribe: () => () => {},
        },
        cri,
        files: new RealFiles({ guard: new RemoteGuard({}, { mounts: new RealMounts({}, { clock }), clock }) }),
        clock,
        rootDir,
      },
    );
    return { ...answer, id };
  }

  it('has an archive made in a folder of its own, and says where it is', async () => {
    const { status, body, id } = await ask('timeout=7', { checkpoints: true });
    expect(status).toBe(200);
    const [location = ''] = (JSON.parse(body) as { items: string[] }).items;
    expect(location).toMatch(
      new RegExp(`^${rootDir}/checkpoints/checkpoint-p_ns-c-\\d{4}-\\d\\d-\\d\\dT[\\d:]+Z\\.tar$`),
    );
    expect(JSON.parse(readFileSync(location, 'utf8'))).toEqual({ id, timeoutSeconds: 7 });
    expect(statSync(`${rootDir}/checkpoints`).mode & 0o777).toBe(0o700);
  });

  it('leaves the time to the runtime where none is given', async () => {
    const { body } = await ask('', { checkpoints: true });
    const [location = ''] = (JSON.parse(body) as { items: string[] }).items;
    expect(JSON.parse(readFileSync(location, 'utf8'))).toMatchObject({ timeoutSeconds: 0 });
  });

  it('says why it could not be made', async () => {
    const { status, body } = await ask('', { checkpoints: false });
    expect([status, body]).toEqual([
      500,
      expect.stringMatching(/^checkpointing of ns\/p\/c failed \(.*not implemented\)$/),
    ]);
    const gone = await ask('', { checkpoints: true, started: false });
    expect([gone.status, gone.body]).toEqual([500, 'checkpointing of ns/p/c failed (container c not found)']);
    expect(existsSync(`${rootDir}/checkpoints`) && statSync(`${rootDir}/checkpoints`).isDirectory()).toBe(true);
  });
});
