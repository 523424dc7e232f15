import { beforeEach, describe, expect, it } from 'vitest';
import type { ObjectSource, View } from '../../../src/cluster/port.ts';
import type { ContainerStatus, Mount } from '../../../src/host/cri/port.ts';
import { FakeFiles } from '../../../src/host/files/fake.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { KubeObject } from '../../../src/model/meta.ts';
import type { ConfigMap } from '../../../src/model/objects.ts';
import type { Container, Pod } from '../../../src/model/pod.ts';
import type { ResourceType } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { HostParts } from '../../../src/pods/host-parts.ts';
import { annotation, label } from '../../../src/pods/identity.ts';
import { ContainerLogs } from '../../../src/pods/logs/container-logs.ts';
import { PodFiles } from '../../../src/pods/volumes/pod-files.ts';
import { container, pod } from './builders.ts';

const ROOT = '/var/lib/kubelet';
const LOGS = '/var/log/pods';

/** ConfigMaps and Secrets of an API, and who has asked for them to be watched. */
class Objects implements ObjectSource {
  readonly stored = new Map<string, KubeObject>();
  readonly needed = new Map<string, Set<string>>();
  away = false;

  need(owner: string, type: ResourceType, namespace: string, name: string): void {
    const keys = this.needed.get(owner) ?? new Set();
    this.needed.set(owner, keys.add(`${type.plural}/${namespace}/${name}`));
  }

  release(owner: string): void {
    this.needed.delete(owner);
  }

  async get<T extends KubeObject>(type: ResourceType, namespace: string, name: string): Promise<T> {
    if (this.away) throw new CodedError('Unavailable', 'the API is away');
    const found = this.stored.get(`${type.plural}/${namespace}/${name}`);
    if (found === undefined) throw new CodedError('NotFound', `${type.plural} "${name}" not found`);
    return found as T;
  }

  subscribe(): () => void {
    return () => {};
  }
}

class Services implements View<Service> {
  readonly list: Service[] = [];
  private sync: () => void = () => {};
  private readonly waited = new Promise<void>((resolve) => {
    this.sync = resolve;
  });
  synced = false;

  whenSynced(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
      void this.waited.then(resolve);
    });
  }

  complete(): void {
    this.synced = true;
    this.sync();
  }

  get(): Service | undefined {
    return undefined;
  }

  values(): IterableIterator<Service> {
    return this.list.values();
  }

  get size(): number {
    return this.list.length;
  }

  subscribe(): () => void {
    return () => {};
  }
}

const never = new AbortController().signal;

describe('HostParts', () => {
  let files: FakeFiles;
  let objects: Objects;
  let services: Services;
  let volumeMounts: Mount[];
  let setUp: string[];
  let cgroups: Set<string>;
  let forgotten: string[];
  let clock: ManualClock;
  let parts: HostParts;

  beforeEach(async () => {
    files = new FakeFiles();
    objects = new Objects();
    services = new Services();
    services.complete();
    volumeMounts = [];
    setUp = [];
    cgroups = new Set();
    forgotten = [];
    clock = new ManualClock();
    await files.makeDirectory('/etc', 0o755);
    await files.write('/etc/hosts', '127.0.0.1 localhost\n192.0.2.9 node\n', 0o644);
    parts = new HostParts(
      { clusterDomain: 'cluster.local', nodeName: 'node-1' },
      {
        cgroups: {
          pathOf: (of) => `/kubepods/pod${of.metadata.uid}`,
          ensure: async (of) => cgroups.add(of.metadata.uid ?? ''),
          remove: async (uid) => {
            cgroups.delete(uid);
          },
        },
        volumes: {
          setUp: async (of) => {
            setUp.push(of.metadata.uid ?? '');
          },
          refresh: async () => ({}),
          mountsFor: async () => volumeMounts,
          devicesFor: async () => [],
          extraGroups: () => [],
          tearDown: async (uid) => {
            setUp = setUp.filter((other) => other !== uid);
          },
          existing: async () => setUp,
        },
        podFiles: new PodFiles({ rootDirectory: ROOT }, { files }),
        logs: new ContainerLogs({ podLogsDir: LOGS, containerLogsDir: '/links' }, { files, log: silent }),
        userNamespaces: { mappingFor: async () => undefined },
        files,
        objects,
        tokens: { forget: (uid) => forgotten.push(uid) },
        services,
        clock,
        hostIPs: () => ['192.0.2.9'],
        allocatable: () => ({ cpu: '4', memory: '8Gi' }),
        resourceFacts: () => ({
          memoryBytes: 8 * 2 ** 30,
          cgroupVersion: 2,
          cfsQuota: true,
          cfsPeriodUs: 100_000,
          hugepageSizes: [],
          swapAccounting: false,
          singleProcessOomKill: false,
          podPidsLimit: -1,
        }),
      },
    );
  });

  const environment = (of: Pod, which: Container, podIPs: readonly string[] = ['10.0.0.2']) =>
    parts.environment(of, which, podIPs, never);
  const textOf = async (path: string | undefined): Promise<string> => (await files.read(path ?? '')).toString();

  it('hands the cgroup on', async () => {
    expect(parts.cgroupParent(pod())).toBe('/kubepods/podu1');
    await parts.ensureCgroup(pod());
    expect([...cgroups]).toEqual(['u1']);
    await parts.removeCgroup('u1');
    expect([...cgroups]).toEqual([]);
  });

  it('watches what a pod reads from the time its volumes are made until it lets go', async () => {
    const reader = container('a', {
      envFrom: [{ configMapRef: { name: 'settings' } }],
      env: [{ name: 'K', valueFrom: { secretKeyRef: { name: 'keys', key: 'k' } } }],
    });
    await parts.setUpVolumes(
      pod({ containers: [reader], volumes: [{ name: 'v', configMap: { name: 'files' } }] }),
      never,
    );
    expect(setUp).toEqual(['u1']);
    expect([...(objects.needed.get('u1') ?? [])].sort()).toEqual([
      'configmaps/ns/files',
      'configmaps/ns/settings',
      'secrets/ns/keys',
    ]);
    parts.release('u1');
    expect(objects.needed.size).toBe(0);
    expect(forgotten).toEqual(['u1']);
    await parts.tearDownVolumes('u1');
    expect(setUp).toEqual([]);
  });

  it('reads the environment from objects, the pod and the node', async () => {
    objects.stored.set('configmaps/ns/settings', { metadata: {}, data: { COLOUR: 'blue' } } as ConfigMap);
    const reader = container('a', {
      envFrom: [{ configMapRef: { name: 'settings' } }],
      env: [
        { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
        { name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
      ],
    });
    const found = Object.fromEntries(
      (await environment(pod({ containers: [reader] }), reader)).map((v) => [v.key, v.value]),
    );
    expect(found).toMatchObject({ COLOUR: 'blue', IP: '10.0.0.2', NODE: 'node-1', HOST: '192.0.2.9' });
    const host = pod({ containers: [reader], hostNetwork: true });
    expect(await environment(host, reader, [])).toContainEqual({ key: 'IP', value: '192.0.2.9' });
  });

  it('an object that does not exist is told by name; an API that is away is no such thing', async () => {
    const reader = container('a', { envFrom: [{ configMapRef: { name: 'settings' } }] });
    const of = pod({ containers: [reader] });
    await expect(environment(of, reader)).rejects.toThrow(/"settings" not found/);
    const optional = container('a', { envFrom: [{ configMapRef: { name: 'settings', optional: true } }] });
    await expect(environment(pod({ containers: [optional] }), optional)).resolves.toBeDefined();
    objects.away = true;
    await expect(environment(pod({ containers: [optional] }), optional)).rejects.toThrow('the API is away');
  });

  it('waits for the Services that were there before the pod', async () => {
    services = new Services();
    const waiting = new HostParts({ clusterDomain: 'cluster.local', nodeName: 'n' }, { ...parts['deps'], services });
    let found: readonly { key: string }[] | undefined;
    const done = waiting.environment(pod(), container('a'), [], never).then((variables) => {
      found = variables;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(found).toBeUndefined();
    services.list.push({
      metadata: { name: 'db', namespace: 'ns' },
      spec: { clusterIP: '10.96.0.7', ports: [{ port: 5432 }] },
    } as Service);
    services.complete();
    await done;
    expect(found).toContainEqual({ key: 'DB_SERVICE_HOST', value: '10.96.0.7' });
  });

  it('says that it waits for the Services, and starts a static pod without them', async () => {
    services = new Services();
    const away = new HostParts({ clusterDomain: 'cluster.local', nodeName: 'n' }, { ...parts['deps'], services });
    const failure = away.environment(pod(), container('a'), [], never).catch((error: unknown) => error);
    await clock.advance(2000);
    expect(await failure).toMatchObject({
      message: 'services have not yet been read at least once, cannot construct envvars',
      metadata: { reason: 'CreateContainerConfigError' },
    });
    const ofThisNode = pod({}, { annotations: { 'kubernetes.io/config.source': 'file' } });
    await expect(away.environment(ofThisNode, container('a'), [], never)).resolves.toEqual([]);
  });

  it('tells the runtime of the pod’s resources, and of its RuntimeClass’s overhead apart from them', () => {
    const limited = container('a', { resources: { requests: { cpu: '500m' }, limits: { memory: '64Mi' } } });
    expect(parts.sandboxResources(pod({ containers: [limited] }))).toEqual({
      overhead: {},
      resources: { cpuShares: 512, memoryLimitInBytes: 64 * 2 ** 20, cpuQuota: 0, cpuPeriod: 100_000 },
    });
    const heavy = pod({ containers: [limited], overhead: { cpu: '250m', memory: '16Mi' } });
    expect(parts.sandboxResources(heavy)).toEqual({
      overhead: { cpuShares: 256, memoryLimitInBytes: 16 * 2 ** 20, cpuQuota: 25_000, cpuPeriod: 100_000 },
      resources: { cpuShares: 512, memoryLimitInBytes: 64 * 2 ** 20, cpuQuota: 0, cpuPeriod: 100_000 },
    });
  });

  it('mounts volumes, the pod’s hosts file and a termination log', async () => {
    volumeMounts = [{ containerPath: '/data', hostPath: '/x', readonly: true, propagation: 'PRIVATE' }];
    const mounts = await parts.mounts(pod({ hostname: 'web' }), container('a'), 2, ['10.0.0.2'], {});
    expect(mounts.map(({ containerPath }) => containerPath)).toEqual(['/data', '/etc/hosts', '/dev/termination-log']);
    expect(await textOf(mounts[1]?.hostPath)).toMatch(/^10\.0\.0\.2\tweb$/m);
    expect(mounts.slice(1).every(({ readonly }) => !readonly)).toBe(true);
    expect(await files.lstat(mounts[2]?.hostPath ?? '')).toMatchObject({ mode: 0o666, kind: 'file' });
    const next = await parts.mounts(pod(), container('a'), 3, ['10.0.0.2'], {});
    expect(next[2]?.hostPath).not.toBe(mounts[2]?.hostPath);
  });

  it('the hosts file is the container’s own if it mounts one, and the node’s in the host network', async () => {
    const own = container('a', { volumeMounts: [{ name: 'v', mountPath: '/etc/hosts' }] });
    const paths = (mounts: readonly Mount[]): string[] => mounts.map(({ containerPath }) => containerPath);
    expect(paths(await parts.mounts(pod(), own, 0, ['10.0.0.2'], {}))).toEqual(['/dev/termination-log']);
    expect(paths(await parts.mounts(pod(), container('a'), 0, [], {}))).toEqual(['/dev/termination-log']);
    const host = await parts.mounts(pod({ hostNetwork: true }), container('a'), 0, [], {});
    expect(await textOf(host[0]?.hostPath)).toContain('192.0.2.9 node');
  });

  it('puts the termination log where the container wants it', async () => {
    const mounts = await parts.mounts(pod(), container('a', { terminationMessagePath: '/tmp/last' }), 0, [], {});
    expect(mounts[0]?.containerPath).toBe('/tmp/last');
  });

  it('makes and removes the pod’s logs', async () => {
    const identity = { uid: 'u1', namespace: 'ns', name: 'p' };
    await parts.makeLogDirectory(identity);
    expect(await files.lstat(`${LOGS}/ns_p_u1`)).toMatchObject({ kind: 'directory', mode: 0o755 });
    await files.makeDirectory(`${LOGS}/ns_p_u1/a`, 0o755);
    await files.write(`${LOGS}/ns_p_u1/a/0.log`, 'x', 0o644);
    await files.write(`${LOGS}/ns_p_u1/a/1.log`, 'x', 0o644);
    await parts.removeContainerLog(identity, 'a', 0, 'id');
    await parts.removeContainerLog(identity, 'a', 0, 'id');
    expect(await files.list(`${LOGS}/ns_p_u1/a`)).toEqual(['1.log']);
    await parts.removeLogDirectory(identity);
    expect(await files.list(LOGS)).toEqual([]);
  });

  describe('what a container said last', () => {
    const LOG = `${LOGS}/ns_p_u1/a/0.log`;

    async function lastWords(policy: string | undefined, exitCode: number, written = ''): Promise<string> {
      const [, log] = await parts.mounts(pod(), container('a'), 0, ['10.0.0.2'], {});
      if (written !== '') await files.write(log?.hostPath ?? '', written, 0o666);
      await files.makeDirectory(`${LOGS}/ns_p_u1/a`, 0o755, 0o755);
      await files.write(LOG, '2026-01-01T00:00:00Z stderr F panic: no luck\n', 0o644);
      const status: ContainerStatus = {
        id: 'c',
        metadata: { name: 'a', attempt: 0 },
        state: 'EXITED',
        createdAt: 0,
        startedAt: 0,
        finishedAt: 0,
        exitCode,
        image: '',
        imageRef: '',
        reason: '',
        message: '',
        labels: { [label.podUid]: 'u1', [label.containerName]: 'a' },
        annotations: policy === undefined ? {} : { [annotation.terminationMessagePolicy]: policy },
        mounts: [],
        logPath: LOG,
      };
      return parts.finalMessage(status);
    }

    it.each([
      ['the file', 'File', 1, 'written', 'written'],
      ['nothing of the log by default', 'File', 1, '', ''],
      ['nothing of the log without a policy', undefined, 1, '', ''],
      ['the log, where it falls back', 'FallbackToLogsOnError', 1, '', 'panic: no luck\n'],
      ['the file before the log', 'FallbackToLogsOnError', 1, 'written', 'written'],
      ['nothing of the log after a success', 'FallbackToLogsOnError', 0, '', ''],
    ])('is %s', async (_name, policy, exitCode, written, expected) => {
      expect(await lastWords(policy, exitCode, written)).toBe(expected);
    });

    it('of an unknown container is nothing', async () => {
      const status = { labels: {}, annotations: {}, metadata: { name: 'x', attempt: 0 }, exitCode: 1, logPath: '' };
      await expect(parts.finalMessage(status as unknown as ContainerStatus).catch(() => '')).resolves.toBe('');
    });
  });
});
