import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeCri } from '../../../../src/host/cri/fake.ts';
import type {
  ContainerConfig,
  ContainerStatus,
  Labels,
  PodSandboxConfig,
  RuntimeEvent,
  RuntimeEventListener,
} from '../../../../src/host/cri/port.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { label } from '../../../../src/pods/identity.ts';
import { RuntimeCache } from '../../../../src/pods/observe/runtime-cache.ts';
import { plainSecurity } from '../../../harness/plain-security.ts';

const POD = { uid: 'u1', namespace: 'ns', name: 'p' };

function labels(uid: string): Labels {
  return { [label.podUid]: uid, [label.podNamespace]: 'ns', [label.podName]: 'p' };
}

function sandboxConfig(uid: string, attempt = 0, own: Labels = labels(uid)): PodSandboxConfig {
  return {
    metadata: { name: 'p', namespace: 'ns', uid, attempt },
    hostname: 'p',
    logDirectory: '/logs',
    portMappings: [],
    labels: own,
    annotations: {},
    linux: { cgroupParent: '/', namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } },
  };
}

function containerConfig(uid: string, name: string, attempt = 0): ContainerConfig {
  return {
    metadata: { name, attempt },
    image: 'app:1',
    userSpecifiedImage: 'app:1',
    command: [],
    args: [],
    workingDir: '',
    envs: [],
    mounts: [],
    devices: [],
    labels: { ...labels(uid), [label.containerName]: name },
    annotations: {},
    logPath: '0.log',
    stdin: false,
    stdinOnce: false,
    tty: false,
    resources: {},
    security: plainSecurity,
  };
}

/** A fake runtime that can keep its events to itself, tell more, and know of exits later than it tells. */
class SlyCri extends FakeCri {
  listener: RuntimeEventListener | undefined;
  mute = false;
  /** What the CRI's answers still say of these containers. */
  readonly pretending = new Map<string, Partial<ContainerStatus>>();

  override watchEvents(listener: RuntimeEventListener, signal: AbortSignal): Promise<'aborted' | 'unsupported'> {
    this.listener = listener;
    return super.watchEvents(
      {
        onGap: () => listener.onGap(),
        onEvent: (event) => {
          if (!this.mute) listener.onEvent(event);
        },
      },
      signal,
    );
  }

  override async containerStatus(id: string): Promise<ContainerStatus> {
    const status = await super.containerStatus(id);
    return { ...status, ...this.pretending.get(id) };
  }

  override async listContainers(...args: Parameters<FakeCri['listContainers']>): ReturnType<FakeCri['listContainers']> {
    const found = await super.listContainers(...args);
    return found.map((one) => ({ ...one, state: this.pretending.get(one.id)?.state ?? one.state }));
  }

  notify(event: Partial<RuntimeEvent> & Pick<RuntimeEvent, 'type' | 'id'>): void {
    this.listener?.onEvent({ atMs: 0, ...event });
  }
}

describe('RuntimeCache', () => {
  let clock: ManualClock;
  let cri: SlyCri;
  let cache: RuntimeCache;
  let heard: string[];
  let message: (status: ContainerStatus) => Promise<string>;
  let stop: AbortController;

  beforeEach(() => {
    clock = new ManualClock();
    cri = new SlyCri({}, { clock });
    cri.addImage('app:1');
    heard = [];
    message = async () => '';
    cache = new RuntimeCache(
      { relistMs: 1000, relistWithEventsMs: 5000 },
      { cri, clock, log: silent, finalMessage: (status) => message(status) },
    );
    cache.subscribe((uid) => heard.push(uid));
    stop = new AbortController();
  });

  afterEach(async () => {
    stop.abort();
    await clock.advance(10);
  });

  async function start(): Promise<void> {
    void cache.run(stop.signal);
    await clock.advance(1);
  }

  async function sandbox(uid = 'u1', attempt = 0): Promise<string> {
    return cri.runPodSandbox(sandboxConfig(uid, attempt), '');
  }

  async function container(sandboxId: string, uid = 'u1', name = 'app', attempt = 0): Promise<string> {
    const id = await cri.createContainer(sandboxId, containerConfig(uid, name, attempt), sandboxConfig(uid));
    await cri.startContainer(id);
    return id;
  }

  const stateOf = (id: string): string | undefined =>
    cache
      .uids()
      .flatMap((uid) => cache.get(uid)?.containers ?? [])
      .find((record) => record.id === id)?.state;

  it('knows after its first list what runs, and says so once', async () => {
    const inside = await sandbox();
    const id = await container(inside);
    let listed = false;
    void cache.whenListed().then(() => {
      listed = true;
    });
    expect(cache.staleMs).toBe(Number.POSITIVE_INFINITY);
    await start();
    expect(listed).toBe(true);
    expect(cache.get('u1')).toMatchObject({
      ...POD,
      sandboxes: [{ id: inside, state: 'READY', ips: ['10.88.0.2'] }],
      containers: [{ id, name: 'app', state: 'RUNNING', sandboxId: inside }],
    });
    expect(cache.staleMs).toBeLessThanOrEqual(1);
    heard.length = 0;
    await clock.advance(60_000);
    expect(heard).toEqual([]);
  });

  it('leaves alone what has no labels of a pod', async () => {
    await cri.runPodSandbox(sandboxConfig('u9', 0, { [label.podUid]: 'u9' }), '');
    await start();
    expect(cache.uids()).toEqual([]);
  });

  it('finds by lists what others made and ended', async () => {
    await start();
    const id = await container(await sandbox());
    await clock.advance(6500);
    expect(stateOf(id)).toBe('RUNNING');
    cri.mute = true;
    cri.exit(id, 4);
    await clock.advance(4000);
    expect(stateOf(id)).toBe('RUNNING');
    await clock.advance(1100);
    expect(stateOf(id)).toBe('EXITED');
  });

  it('lists each second where there are no events', async () => {
    stop.abort();
    stop = new AbortController();
    cri = new SlyCri({ events: false }, { clock });
    cri.addImage('app:1');
    cache = new RuntimeCache(
      { relistMs: 1000, relistWithEventsMs: 5000 },
      { cri, clock, log: silent, finalMessage: async () => '' },
    );
    await start();
    const id = await container(await sandbox());
    await clock.advance(1000);
    cri.exit(id, 0);
    await clock.advance(1000);
    expect(stateOf(id)).toBe('EXITED');
  });

  it('hears of an end at once', async () => {
    const id = await container(await sandbox());
    await start();
    await clock.advance(2000);
    heard.length = 0;
    cri.exit(id, 3);
    await clock.advance(0);
    expect(cache.get('u1')?.containers[0]).toMatchObject({ state: 'EXITED', exitCode: 3, provisional: false });
    expect(heard).toContain('u1');
  });

  it('an early notice counts at once; how it ended follows', async () => {
    const id = await container(await sandbox());
    await start();
    cri.mute = true;
    cri.pretending.set(id, { state: 'RUNNING', exitCode: 0, reason: '', finishedAt: 0 });
    cri.oomKill(id);
    cri.notify({ type: 'exited', id, exitCode: 137, atMs: clock.now() });
    await clock.advance(0);
    expect(cache.get('u1')?.containers[0]).toMatchObject({
      state: 'EXITED',
      exitCode: 137,
      reason: '',
      provisional: true,
    });
    await clock.advance(45);
    cri.pretending.delete(id);
    // The notice that the CRI knows it too was lost: it is asked all the same.
    await clock.advance(150);
    expect(cache.get('u1')?.containers[0]).toMatchObject({ reason: 'OOMKilled', provisional: false });
  });

  it('what an early notice has ended does not come back to life, and lists ask for its end', async () => {
    const id = await container(await sandbox());
    await start();
    cri.mute = true;
    cri.pretending.set(id, { state: 'RUNNING' });
    cri.exit(id, 2);
    cri.notify({ type: 'exited', id, exitCode: 2, atMs: clock.now() });
    await clock.advance(20_000);
    expect(cache.get('u1')?.containers[0]).toMatchObject({ state: 'EXITED', provisional: true });
    cri.pretending.delete(id);
    await clock.advance(5000);
    expect(cache.get('u1')?.containers[0]).toMatchObject({ state: 'EXITED', provisional: false });
  });

  it('an end told while the first read is under way is not missed', async () => {
    await start();
    const inside = await sandbox();
    const id = await container(inside);
    cri.mute = true;
    cri.delay('containerStatus', 30);
    const read = cache.refreshContainer(POD, inside, id);
    await clock.advance(10);
    cri.pretending.set(id, { state: 'RUNNING' });
    cri.exit(id, 1);
    await clock.advance(10);
    cri.notify({ type: 'stopped', id });
    await clock.advance(5);
    cri.pretending.delete(id);
    await clock.advance(100);
    await read;
    expect(stateOf(id)).toBe('EXITED');
  });

  it('reads the termination message of what has ended, and lives without it', async () => {
    const inside = await sandbox();
    const [first, second] = [await container(inside), await container(inside, 'u1', 'other')];
    message = async ({ id }) => {
      if (id === second) throw new Error('no such file');
      return 'last words';
    };
    await start();
    cri.exit(first, 1);
    cri.exit(second, 1, { message: 'said the runtime' });
    await clock.advance(10);
    const shown = cache.get('u1')?.containers.map((record) => record.message);
    expect(shown?.sort()).toEqual(['last words', 'said the runtime']);
  });

  it('forgets what is not there any more', async () => {
    const inside = await sandbox();
    await container(inside);
    await container(await sandbox('u2'), 'u2');
    await start();
    cri.mute = true;
    await cri.removePodSandbox(inside);
    await clock.advance(5100);
    expect(cache.uids()).toEqual(['u2']);
  });

  it('an id that has gone by the time it is asked about is dropped', async () => {
    const inside = await sandbox();
    const id = await container(inside);
    await start();
    cri.mute = true;
    await cri.removeContainer(id);
    await cache.refreshContainer(POD, inside, id);
    expect(cache.get('u1')?.containers).toEqual([]);
    await cri.removePodSandbox(inside);
    await cache.refreshSandbox(POD, inside);
    expect(cache.uids()).toEqual([]);
  });

  it('a list that was asked before a change does not undo it', async () => {
    await start();
    const inside = await sandbox();
    await cache.refreshSandbox(POD, inside);
    const id = await container(inside);
    await cache.refreshContainer(POD, inside, id);
    // What the list says is from before the container was made, and is long on its way.
    cri.listContainers = async () => {
      await clock.sleep(200);
      return [];
    };
    cri.listener?.onGap();
    await clock.advance(50);
    await cache.refreshContainer(POD, inside, id);
    await clock.advance(300);
    expect(stateOf(id)).toBe('RUNNING');
  });

  it('an answer about a removed container does not bring it back', async () => {
    const inside = await sandbox();
    const id = await container(inside);
    await start();
    const status = await cri.containerStatus(id);
    let answer = (): void => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    cri.containerStatus = async () => {
      await held;
      return status;
    };
    const read = cache.refreshContainer(POD, inside, id);
    await clock.advance(1);
    cache.drop(id);
    answer();
    await read;
    expect(stateOf(id)).toBeUndefined();
  });

  it('after a gap everything is listed, also when the gap ended during a list', async () => {
    const id = await container(await sandbox());
    await start();
    await clock.advance(10_000);
    cri.mute = true;
    const release = cri.hold('podSandboxStatus');
    await sandbox('u2');
    cri.listener?.onGap();
    await clock.advance(10);
    // The list has its answers and asks for details; what happens now is in none of them.
    cri.exit(id, 1);
    cri.listener?.onGap();
    release();
    await clock.advance(10);
    expect(stateOf(id)).toBe('EXITED');
  });

  it('what ended just before the listener was back is found a second later, not with the next slow list', async () => {
    const id = await container(await sandbox());
    await start();
    await clock.advance(10_000);
    cri.mute = true;
    cri.exit(id, 1);
    cri.pretending.set(id, { state: 'RUNNING' });
    cri.listener?.onGap();
    await clock.advance(50);
    cri.pretending.delete(id);
    expect(stateOf(id)).toBe('RUNNING');
    await clock.advance(1000);
    expect(stateOf(id)).toBe('EXITED');
  });

  it('an event that cannot be followed up leads to a list', async () => {
    const id = await container(await sandbox());
    await start();
    await clock.advance(6000);
    cri.failNext('containerStatus', 'Internal');
    cri.exit(id, 1);
    await clock.advance(10);
    expect(stateOf(id)).toBe('EXITED');
  });

  it('a runtime that does not answer is asked again each second; what was known stays', async () => {
    const id = await container(await sandbox());
    await start();
    cri.stopRuntime();
    await clock.advance(60_000);
    expect(stateOf(id)).toBe('RUNNING');
    expect(cache.staleMs).toBeGreaterThan(50_000);
    cri.exit(id, 1);
    cri.startRuntime();
    await clock.advance(10);
    expect(stateOf(id)).toBe('EXITED');
    expect(cache.staleMs).toBeLessThan(1000);
  });

  it('a status that cannot be read holds its own pod only', async () => {
    const bad = await container(await sandbox('bad'), 'bad');
    await container(await sandbox('good'), 'good');
    const read = cri.containerStatus.bind(cri);
    let broken = true;
    cri.containerStatus = (id) => (broken && id === bad ? Promise.reject(new Error('corrupt')) : read(id));
    let listed = false;
    void cache.whenListed().then(() => {
      listed = true;
    });
    await start();
    expect(listed).toBe(true);
    expect(cache.unreadable('bad')).toBe('corrupt');
    expect(cache.unreadable('good')).toBeUndefined();
    expect(cache.get('good')?.containers[0]?.state).toBe('RUNNING');
    heard.length = 0;
    broken = false;
    await clock.advance(1100);
    expect(cache.unreadable('bad')).toBeUndefined();
    expect(heard).toContain('bad');
  });

  it('a status that hangs holds its own pod only', async () => {
    const bad = await container(await sandbox('bad'), 'bad');
    await container(await sandbox('good'), 'good');
    const read = cri.containerStatus.bind(cri);
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    cri.containerStatus = async (id) => {
      if (id === bad) await held;
      return read(id);
    };
    let listed = false;
    void cache.whenListed().then(() => {
      listed = true;
    });
    await start();
    await clock.advance(4000);
    expect(listed).toBe(true);
    expect(cache.unreadable('bad')).toBeDefined();
    expect(cache.unreadable('good')).toBeUndefined();
    release();
    await clock.advance(5000);
    expect(cache.unreadable('bad')).toBeUndefined();
    expect(cache.get('bad')?.containers[0]?.state).toBe('RUNNING');
  });

  it('a pod is in doubt after a refresh that failed, until a list has seen it', async () => {
    const inside = await sandbox();
    const id = await container(inside);
    await start();
    cri.failNext('containerStatus', 'DeadlineExceeded');
    await expect(cache.refreshContainer(POD, inside, id)).rejects.toThrow();
    expect(cache.unreadable('u1')).toBeDefined();
    await clock.advance(1);
    expect(cache.unreadable('u1')).toBeUndefined();
  });

  it('counts attempts before times: a clock that was set back does not make the old new', async () => {
    const inside = await sandbox();
    await container(inside);
    const second = await container(inside, 'u1', 'app', 1);
    cri.pretending.set(second, { createdAt: clock.now() - 3_600_000 });
    await start();
    expect(cache.get('u1')?.containers[0]?.id).toBe(second);
  });

  it('takes the restart count from the annotation, else from the attempt', async () => {
    const inside = await sandbox();
    const id = await container(inside, 'u1', 'app', 3);
    for (const [value, expected] of [
      ['7', 7],
      ['x', 3],
      ['-1', 3],
      ['1.5', 3],
    ] as const) {
      cri.pretending.set(id, { annotations: { 'io.kubernetes.container.restartCount': value } });
      await cache.refreshContainer(POD, inside, id);
      expect(cache.get('u1')?.containers[0]?.restartCount).toBe(expected);
    }
  });

  it('a listener that throws does not keep the others from hearing', async () => {
    cache.subscribe(() => {
      throw new Error('deaf');
    });
    const also: string[] = [];
    cache.subscribe((uid) => also.push(uid));
    await sandbox();
    await start();
    expect(also).toEqual(['u1']);
  });
});
