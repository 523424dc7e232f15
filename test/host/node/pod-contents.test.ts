import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ConfigMap, Event, Secret } from '../../../src/model/objects.ts';
import type { Container, PodSpec } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { type HarnessNode, NODE_ADDRESS, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, containerStatus, restartCount } from '../../harness/pod-summary.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-contents';
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('what is in pods on real containerd', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let shared: string;

  const makeConfigMap = (name: string, data: Record<string, string>) =>
    node.deckhand.api.create<ConfigMap>(resources.configmaps, { metadata: { name, namespace: 'default' }, data });
  const makeSecret = (name: string, data: Record<string, string>) =>
    node.deckhand.api.create<Secret>(resources.secrets, {
      metadata: { name, namespace: 'default' },
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, base64(text)])),
    });
  /** Runs a pod that prints something and stays; returns it and its log once "done" is in it. */
  const printed = async (name: string, script: string, container: Partial<Container> = {}, spec?: Partial<PodSpec>) => {
    await pods.create(podOf(name, sh(`${script}; echo done; ${STAY}`, container), spec));
    const pod = await pods.ready(name);
    return { pod, log: await pods.untilLog(pod, 'done\n') };
  };

  beforeAll(async () => {
    node = await startNode(NAME, {
      beforeDeckhand: (run) => {
        writeFileSync(
          `${run.paths.runDir}/resolv.conf`,
          'nameserver 192.0.2.53\nsearch host.example\noptions timeout:3\n',
        );
      },
      deckhand: {
        args: [
          '--resolv-conf',
          `/run/${NAME}/resolv.conf`,
          '--cluster-dns',
          '10.96.0.10',
          '--cluster-domain',
          'cluster.local',
          '--pod-max-pids',
          '64',
        ],
      },
    });
    pods = new NodePods(node);
    shared = `${node.run.paths.libDir}/shared`;
    mkdirSync(shared);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  // ── environment and network files ───────────────────────────────────────────────────────────────────────────────────

  it.concurrent('environment: ConfigMap, Secret, downward API, expansion and Service variables', async () => {
    await makeConfigMap('env-map', { word: 'from-map', OTHER: 'other' });
    await makeSecret('env-secret', { token: 'from-secret' });
    await node.deckhand.api.create<Service>(resources.services, {
      metadata: { name: 'env-svc', namespace: 'default' },
      spec: { selector: { app: 'none' }, ports: [{ name: 'http', port: 80 }] },
    });
    const service = await node.deckhand.api.get<Service>(resources.services, 'default', 'env-svc');
    // The node's view of Services is a watch's away.
    await pause(1_000);
    const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
    const { pod, log } = await printed('env', 'env', {
      env: [
        { name: 'PLAIN', value: 'plain' },
        { name: 'EXPANDED', value: '$(PLAIN)-$(WORD)-$$(PLAIN)-$(NONE)' },
        { name: 'WORD', valueFrom: { configMapKeyRef: { name: 'env-map', key: 'word' } } },
        { name: 'AFTER', value: '$(WORD)' },
        { name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'env-secret', key: 'token' } } },
        field('MY_NAME', 'metadata.name'),
        field('MY_UID', 'metadata.uid'),
        field('MY_NODE', 'spec.nodeName'),
        field('MY_IP', 'status.podIP'),
        field('MY_HOST', 'status.hostIP'),
        field('MY_LABEL', "metadata.labels['tier']"),
        { name: 'CPUS', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } },
        { name: 'MEMORY', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } } },
      ],
      envFrom: [{ prefix: 'P_', configMapRef: { name: 'env-map' } }],
      resources: { limits: { cpu: '250m', memory: '64Mi' } },
    });
    const env = new Map(log.split('\n').map((line) => [line.split('=')[0] ?? '', line.split('=').slice(1).join('=')]));
    expect(Object.fromEntries(env)).toMatchObject({
      PLAIN: 'plain',
      EXPANDED: 'plain-$(WORD)-$(PLAIN)-$(NONE)',
      WORD: 'from-map',
      AFTER: 'from-map',
      TOKEN: 'from-secret',
      MY_NAME: 'env',
      MY_UID: pod.metadata.uid,
      MY_NODE: node.deckhand.nodeName,
      MY_IP: pod.status?.podIP,
      MY_HOST: NODE_ADDRESS,
      MY_LABEL: '',
      CPUS: '250',
      MEMORY: '64',
      P_word: 'from-map',
      P_OTHER: 'other',
      ENV_SVC_SERVICE_HOST: service.spec?.clusterIP,
      ENV_SVC_SERVICE_PORT_HTTP: '80',
      ENV_SVC_PORT_80_TCP_PROTO: 'tcp',
      KUBERNETES_SERVICE_PORT: '443',
      HOSTNAME: 'env',
    });
  });

  it.concurrent('/etc/hosts, hostname, subdomain and host aliases', async () => {
    const { pod, log } = await printed(
      'hosts',
      'hostname; cat /etc/hosts',
      {},
      {
        hostname: 'called',
        subdomain: 'sub',
        hostAliases: [{ ip: '192.0.2.99', hostnames: ['alias-1', 'alias-2'] }],
      },
    );
    expect(log.split('\n')[0]).toBe('called');
    expect(log).toContain('127.0.0.1\tlocalhost');
    expect(log).toContain(`${pod.status?.podIP}\tcalled.sub.default.svc.cluster.local\tcalled`);
    expect(log).toContain('192.0.2.99\talias-1\talias-2');
  });

  it.concurrent('resolv.conf by dnsPolicy', async () => {
    const resolvOf = async (name: string, spec: Partial<PodSpec>) =>
      (await printed(name, 'cat /etc/resolv.conf', {}, spec)).log
        .replace('done\n', '')
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => line.trim())
        .sort();
    const cluster = [
      'nameserver 10.96.0.10',
      'options ndots:5',
      'search default.svc.cluster.local svc.cluster.local cluster.local host.example',
    ];
    const host = ['nameserver 192.0.2.53', 'options timeout:3', 'search host.example'];
    const [first, dflt, none, onHost, onHostCluster] = await Promise.all([
      resolvOf('dns-first', { dnsPolicy: 'ClusterFirst' }),
      resolvOf('dns-default', { dnsPolicy: 'Default' }),
      resolvOf('dns-none', {
        dnsPolicy: 'None',
        dnsConfig: { nameservers: ['192.0.2.7'], searches: ['mine.example'], options: [{ name: 'ndots', value: '2' }] },
      }),
      resolvOf('dns-host', { dnsPolicy: 'ClusterFirst', hostNetwork: true }),
      resolvOf('dns-host-cluster', { dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true }),
    ]);
    expect(first).toEqual(cluster);
    expect(dflt).toEqual(host);
    expect(none).toEqual(['nameserver 192.0.2.7', 'options ndots:2', 'search mine.example']);
    expect(onHost).toEqual(host);
    expect(onHostCluster).toEqual(cluster);
  });

  it.concurrent('a pod in the network of its host', async () => {
    await pods.create(
      podOf(
        'host-network',
        web({ env: [{ name: 'PORT', value: '18080' }], ports: [{ name: 'http', containerPort: 18_080 }] }),
        { hostNetwork: true },
      ),
    );
    const pod = await pods.ready('host-network');
    expect(pod.status?.podIP).toBe(NODE_ADDRESS);
    expect(pod.status?.hostIP).toBe(NODE_ADDRESS);
    expect((await node.client.request(`http://${NODE_ADDRESS}:18080/`)).status).toBe(200);
    expect(readlinkSync(`/proc/${await pods.pid(pod, 'web')}/ns/net`)).toBe(
      readlinkSync(`/proc/${node.deckhand.pid}/ns/net`),
    );
  });

  it.concurrent('a hostPort answers on the node', async () => {
    await pods.create(podOf('host-port', web({ ports: [{ name: 'http', containerPort: 8080, hostPort: 18_081 }] })));
    await pods.ready('host-port');
    expect((await node.client.request(`http://${NODE_ADDRESS}:18081/`)).body).toBe('host-port\n');
  });

  // ── volumes ───────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('emptyDir on disk and in memory, shared by containers and kept over restarts', async () => {
    const mounts = {
      volumeMounts: [
        { name: 'disk', mountPath: '/disk' },
        { name: 'memory', mountPath: '/memory' },
      ],
    };
    await pods.create(
      podOf(
        'empty-dir',
        [
          sh(
            `echo run >> /disk/runs; grep ' /memory ' /proc/mounts; [ -e /disk/again ] || { touch /disk/again; exit 0; }
              ${STAY}`,
            mounts,
          ),
          sh(`while ! [ -e /disk/again ]; do sleep 0.2; done; echo shared > /memory/other; ${STAY}`, {
            name: 'other',
            ...mounts,
          }),
        ],
        {
          volumes: [
            { name: 'disk', emptyDir: {} },
            { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '8Mi' } },
          ],
        },
      ),
    );
    const pod = await pods.until('empty-dir', 'be restarted and ready', (candidate) => {
      return restartCount(candidate) === 1 && containerStatus(candidate, 'main')?.ready === true && candidate;
    });
    expect(readFileSync(`${pods.emptyDir(pod, 'disk')}/runs`, 'utf8')).toBe('run\nrun\n');
    expect(pods.log(pod, 'main', 1)).toMatch(/^tmpfs \/memory tmpfs .*size=8192k/);
    expect(await pods.file(pod, '/memory/other')).toBe('shared\n');
    await pods.delete('empty-dir');
    await pods.gone('empty-dir');
    await waitFor('its directory to go', () => !existsSync(pods.emptyDir(pod, 'disk')));
  });

  it.concurrent('hostPath types: makes what it may, refuses what is not there', async () => {
    writeFileSync(`${shared}/file`, 'on the host\n');
    mkdirSync(`${shared}/directory`);
    const socket = createServer().listen(`${shared}/socket`);
    const hostPath = (type: string, path: string) =>
      ({
        volumes: [{ name: 'v', hostPath: { path: `${shared}/${path}`, type } }],
      }) as Partial<PodSpec>;
    const mount = (mountPath: string) => ({ volumeMounts: [{ name: 'v', mountPath }] });
    try {
      const made = await Promise.all([
        printed('host-dir', 'echo made > /v/made', mount('/v'), hostPath('DirectoryOrCreate', 'new/dir')),
        printed('host-file', 'cat /v', mount('/v'), hostPath('File', 'file')),
        printed('host-file-make', 'echo text > /v', mount('/v'), hostPath('FileOrCreate', 'new-file')),
        printed('host-directory', 'touch /v/x', mount('/v'), hostPath('Directory', 'directory')),
        printed('host-socket', '[ -S /v ] && echo socket', mount('/v'), hostPath('Socket', 'socket')),
        printed('host-any', 'cat /v', mount('/v'), hostPath('', 'file')),
      ]);
      expect(readFileSync(`${shared}/new/dir/made`, 'utf8')).toBe('made\n');
      expect(readFileSync(`${shared}/new-file`, 'utf8')).toBe('text\n');
      expect(made[1]?.log).toBe('on the host\ndone\n');
      expect(made[4]?.log).toBe('socket\ndone\n');
      for (const [name, type, path] of [
        ['host-bad-dir', 'Directory', 'file'],
        ['host-bad-file', 'File', 'absent'],
        ['host-bad-socket', 'Socket', 'file'],
      ] as const) {
        await pods.create(podOf(name, sh(STAY, mount('/v')), hostPath(type, path)));
        const event = await pods.untilEvent(name, 'FailedMount');
        expect(event.message).toContain(`${shared}/${path}`);
        expect((await pods.get(name)).status?.phase).toBe('Pending');
      }
    } finally {
      socket.close();
    }
  });

  it.concurrent('updates a ConfigMap volume in one step, and leaves a subPath mount as it was', async () => {
    await makeConfigMap('live', { a: 'old', b: 'old' });
    const { pod } = await printed(
      'live',
      'cat /c/a; cat /single',
      {
        volumeMounts: [
          { name: 'c', mountPath: '/c' },
          { name: 'c', mountPath: '/single', subPath: 'a' },
        ],
      },
      { volumes: [{ name: 'c', configMap: { name: 'live' } }] },
    );
    const root = `/proc/${await pods.pid(pod)}/root`;
    const data = () => readlinkSync(`${root}/c/..data`);
    const before = data();
    expect(lstatSync(`${root}/c/a`).isSymbolicLink()).toBe(true);
    const since = performance.now();
    await node.deckhand.api.mergePatch(resources.configmaps, 'default', 'live', {
      data: { a: 'new', b: null, c: 'added' },
    });
    // Through one ..data all keys are of one version.
    const mixed = await waitFor(
      'the new version',
      () => {
        const version = data();
        const a = readFileSync(`${root}/c/${version}/a`, 'utf8');
        const hasB = existsSync(`${root}/c/${version}/b`);
        const hasC = existsSync(`${root}/c/${version}/c`);
        if (version === before) return false;
        return { a, hasB, hasC };
      },
      { intervalMs: 5 },
    );
    console.log(`ConfigMap volume follows after ${(performance.now() - since).toFixed(0)} ms`);
    expect(mixed).toEqual({ a: 'new', hasB: false, hasC: true });
    await waitFor('the old key to go', () => !existsSync(`${root}/c/b`));
    await waitFor('the new key', () => readFileSync(`${root}/c/c`, 'utf8') === 'added');
    expect(readFileSync(`${root}/single`, 'utf8')).toBe('old');
  });

  it.concurrent('secret, downward API and projected volumes with modes, items, and a bound token', async () => {
    await makeSecret('vol-secret', { key: 'hidden', other: 'x' });
    await makeConfigMap('vol-map', { m: 'mapped' });
    await pods.create(
      podOf(
        'projected',
        sh(`ls -lL /s/deep; cat /s/deep/key; echo; cat /d/labels; echo; cat /p/m; echo; echo done; ${STAY}`, {
          resources: { requests: { cpu: '30m' } },
          volumeMounts: [
            { name: 's', mountPath: '/s', readOnly: true },
            { name: 'd', mountPath: '/d' },
            { name: 'p', mountPath: '/p' },
          ],
        }),
        {
          volumes: [
            { name: 's', secret: { secretName: 'vol-secret', items: [{ key: 'key', path: 'deep/key', mode: 0o400 }] } },
            {
              name: 'd',
              downwardAPI: {
                items: [
                  { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
                  { path: 'cpu', resourceFieldRef: { containerName: 'main', resource: 'requests.cpu', divisor: '1m' } },
                ],
              },
            },
            {
              name: 'p',
              projected: {
                sources: [
                  { configMap: { name: 'vol-map' } },
                  { secret: { name: 'vol-secret', items: [{ key: 'other', path: 'o' }] } },
                  { downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
                  { serviceAccountToken: { path: 'token', audience: 'tests', expirationSeconds: 600 } },
                ],
              },
            },
          ],
        },
        { labels: { tier: 'one' } },
      ),
    );
    const pod = await pods.ready('projected');
    const log = await pods.untilLog(pod, 'done');
    expect(log).toMatch(/^-r-------- /m);
    expect(log).toContain('hidden\ntier="one"\nmapped\n');
    const root = `/proc/${await pods.pid(pod)}/root`;
    expect(readFileSync(`${root}/d/cpu`, 'utf8')).toBe('30');
    expect(readFileSync(`${root}/p/o`, 'utf8')).toBe('x');
    expect(readFileSync(`${root}/p/name`, 'utf8')).toBe('projected');
    const claims = JSON.parse(
      Buffer.from(readFileSync(`${root}/p/token`, 'utf8').split('.')[1] ?? '', 'base64url').toString(),
    );
    expect(claims).toMatchObject({
      aud: ['tests'],
      sub: 'system:serviceaccount:default:default',
      'kubernetes.io': { pod: { name: 'projected', uid: pod.metadata.uid } },
    });
    expect(claims.exp - claims.iat).toBe(600);

    await node.deckhand.api.mergePatch(resources.pods, 'default', 'projected', {
      metadata: { labels: { tier: 'two' } },
    });
    await waitFor('the new label', () => readFileSync(`${root}/d/labels`, 'utf8') === 'tier="two"');
    await node.deckhand.api.mergePatch(resources.secrets, 'default', 'vol-secret', {
      data: { key: base64('changed') },
    });
    await waitFor('the new secret', () => readFileSync(`${root}/s/deep/key`, 'utf8') === 'changed');
    // Secrets are not on a disk.
    const mountLine = readFileSync(`/proc/${await pods.pid(pod)}/mountinfo`, 'utf8')
      .split('\n')
      .find((line) => line.split(' ')[4] === '/s');
    expect(mountLine).toContain(' - tmpfs ');
    expect(restartCount(await pods.get('projected'))).toBe(0);
  });

  it.concurrent('subPath makes a folder in an emptyDir, subPathExpr follows the environment', async () => {
    const { pod } = await printed(
      'sub-path',
      'echo x > /a/file; echo y > /b/file',
      {
        env: [{ name: 'WHO', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
        volumeMounts: [
          { name: 'v', mountPath: '/a', subPath: 'sub/dir' },
          { name: 'v', mountPath: '/b', subPathExpr: 'of-$(WHO)' },
        ],
      },
      { volumes: [{ name: 'v', emptyDir: {} }] },
    );
    expect(readFileSync(`${pods.emptyDir(pod, 'v')}/sub/dir/file`, 'utf8')).toBe('x\n');
    expect(readFileSync(`${pods.emptyDir(pod, 'v')}/of-sub-path/file`, 'utf8')).toBe('y\n');
  });

  // ── security context ──────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('runs as the user, group and with the capabilities that it is given', async () => {
    const { pod, log } = await printed(
      'user',
      'id -u; id -g; id -G; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; (touch /nope) 2>&1; touch /v/yes && stat -c "%u %g" /v /v/yes',
      {
        securityContext: {
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: [{ name: 'v', mountPath: '/v' }],
      },
      {
        securityContext: { runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000] },
        volumes: [{ name: 'v', emptyDir: {} }],
      },
    );
    const lines = log.split('\n');
    expect(lines.slice(0, 2)).toEqual(['1000', '2000']);
    expect(lines[2]?.split(' ').sort()).toEqual(expect.arrayContaining(['2000', '3000', '4000']));
    expect(log).toMatch(/CapEff:\t0{16}\n/);
    expect(log).toMatch(/NoNewPrivs:\t1\n/);
    expect(log).toContain('Read-only file system');
    expect(log).toContain('0 3000\n1000 3000\n');
    expect(containerStatus(pod, 'main')?.ready).toBe(true);
  });

  it.concurrent('adds capabilities, and drops those named', async () => {
    const { log } = await printed('capabilities', 'grep CapEff /proc/self/status', {
      securityContext: { capabilities: { add: ['NET_ADMIN'], drop: ['CHOWN'] } },
    });
    const effective = BigInt(`0x${/CapEff:\t(\w+)/.exec(log)?.[1]}`);
    const has = (bit: bigint): boolean => (effective & (1n << bit)) !== 0n;
    // capability.h: CHOWN 0, NET_BIND_SERVICE 10, NET_ADMIN 12, SYS_ADMIN 21.
    expect({ chown: has(0n), bind: has(10n), netAdmin: has(12n), sysAdmin: has(21n) }).toEqual({
      chown: false,
      bind: true,
      netAdmin: true,
      sysAdmin: false,
    });
  });

  it.concurrent('refuses to run root where runAsNonRoot is wanted', async () => {
    await pods.create(podOf('non-root', sh(STAY, { securityContext: { runAsNonRoot: true } })));
    const state = await pods.until('non-root', 'be refused', (pod) => {
      const waiting = containerStatus(pod, 'main')?.state?.waiting;
      return waiting?.reason === 'CreateContainerConfigError' && waiting;
    });
    expect(state.message).toContain('container has runAsNonRoot and image will run as root');
    await pods.create(podOf('non-root-ok', sh(STAY, { securityContext: { runAsNonRoot: true, runAsUser: 1000 } })));
    await pods.ready('non-root-ok');
  });

  it.concurrent('shares the process namespace on wish', async () => {
    await pods.create(
      podOf('share-pid', [sh(STAY), sh(`sleep 1; ps; echo done; ${STAY}`, { name: 'looker' })], {
        shareProcessNamespace: true,
      }),
    );
    const pod = await pods.ready('share-pid');
    expect(await pods.untilLog(pod, 'done', 'looker')).toContain('trap ');
    const pidNamespaces = await Promise.all(
      ['main', 'looker'].map(async (name) => readlinkSync(`/proc/${await pods.pid(pod, name)}/ns/pid`)),
    );
    expect(new Set(pidNamespaces).size).toBe(1);
  });

  // ── resources ─────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('cgroups of each QoS class, with the limit of processes', async () => {
    const withResources = (name: string, own: Container['resources']) =>
      pods.create(podOf(name, sh(STAY, own === undefined ? {} : { resources: own })));
    await withResources('qos-guaranteed', { limits: { cpu: '200m', memory: '64Mi' } });
    await withResources('qos-burstable', { requests: { cpu: '100m', memory: '32Mi' }, limits: { memory: '64Mi' } });
    await withResources('qos-best-effort', undefined);
    const [guaranteed, burstable, bestEffort] = await Promise.all(
      ['qos-guaranteed', 'qos-burstable', 'qos-best-effort'].map((name) => pods.ready(name)),
    );
    if (guaranteed === undefined || burstable === undefined || bestEffort === undefined) throw new Error('no pods');
    expect([guaranteed, burstable, bestEffort].map((pod) => pod.status?.qosClass)).toEqual([
      'Guaranteed',
      'Burstable',
      'BestEffort',
    ]);
    const unified = pods.podCgroup(guaranteed, 'memory.max') !== undefined;
    const MIB = 1024 * 1024;
    const memory = (pod: typeof guaranteed) => pods.podCgroup(pod, unified ? 'memory.max' : 'memory.limit_in_bytes');
    expect(memory(guaranteed)).toBe(String(64 * MIB));
    expect(memory(burstable)).toBe(String(64 * MIB));
    expect(memory(bestEffort)).not.toBe(String(64 * MIB));
    const quota = (pod: typeof guaranteed) =>
      unified ? pods.podCgroup(pod, 'cpu.max') : pods.podCgroup(pod, 'cpu.cfs_quota_us');
    expect(quota(guaranteed)).toBe(unified ? '20000 100000' : '20000');
    expect(quota(burstable)).toBe(unified ? 'max 100000' : '-1');
    if (!unified) {
      expect(pods.podCgroup(guaranteed, 'cpu.shares')).toBe('204');
      expect(pods.podCgroup(burstable, 'cpu.shares')).toBe('102');
      expect(pods.podCgroup(bestEffort, 'cpu.shares')).toBe('2');
    }
    for (const pod of [guaranteed, burstable, bestEffort]) expect(pods.podCgroup(pod, 'pids.max')).toBe('64');
    const path = (pod: typeof guaranteed) => pods.podCgroupPath(pod);
    expect(path(guaranteed)).toBe(`/${NAME}/kubepods/pod${guaranteed.metadata.uid}`);
    expect(path(burstable)).toBe(`/${NAME}/kubepods/burstable/pod${burstable.metadata.uid}`);
    expect(path(bestEffort)).toBe(`/${NAME}/kubepods/besteffort/pod${bestEffort.metadata.uid}`);
    const score = async (pod: typeof guaranteed) =>
      Number(readFileSync(`/proc/${await pods.pid(pod)}/oom_score_adj`, 'utf8'));
    expect(await score(bestEffort)).toBe(1000);
    const middle = await score(burstable);
    expect(middle).toBeGreaterThan(1);
    expect(middle).toBeLessThan(1000);
    expect(await score(guaranteed)).toBeLessThanOrEqual(0);
  });

  it.concurrent('a pod cannot have more processes than podPidsLimit', async () => {
    const script = 'i=0; while [ $i -lt 100 ]; do sleep 300 & i=$((i+1)); done; echo made all';
    await pods.create(podOf('fork', sh(script), { restartPolicy: 'Never' }));
    const pod = await pods.until('fork', 'end', (candidate) => {
      return containerStatus(candidate, 'main')?.state?.terminated !== undefined && candidate;
    });
    const log = await pods.untilLog(pod, 'fork');
    expect(log).toContain('Resource temporarily unavailable');
    expect(log).not.toContain('made all');
  });

  it.concurrent('the node tells by events that it starts, holds pods to a limit, and is on cgroup v1 where it is', async () => {
    const said = await waitFor('the events of the node', async () => {
      const events = await node.deckhand.api.list<Event>(resources.events, 'default');
      const found = new Set(
        events.filter(({ involvedObject }) => involvedObject.kind === 'Node').map((one) => one.reason),
      );
      return found.has('NodeReady') && found.has('NodeAllocatableEnforced') && found;
    });
    expect(said).toContain('Starting');
    expect(said.has('CgroupV1')).toBe(!existsSync('/sys/fs/cgroup/cgroup.controllers'));
  });

  // ── logs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('writes container logs in CRI layout, one file an attempt', async () => {
    const mount = { volumeMounts: [{ name: 'w', mountPath: '/w' }] };
    await pods.create(
      podOf('logs', sh(`echo to-out; echo to-err >&2; [ -e /w/x ] || { touch /w/x; exit 1; }; ${STAY}`, mount), {
        volumes: [{ name: 'w', emptyDir: {} }],
      }),
    );
    const pod = await pods.until('logs', 'be restarted', (candidate) => {
      return restartCount(candidate) === 1 && containerStatus(candidate, 'main')?.ready === true && candidate;
    });
    await waitFor('both lines', () => pods.logLines(pod, 'main', 1).length === 2);
    for (const attempt of [0, 1]) {
      const lines = pods.logLines(pod, 'main', attempt);
      expect(new Set(lines.map(({ stream, tag, text }) => `${stream} ${tag} ${text}`))).toEqual(
        new Set(['stdout F to-out', 'stderr F to-err']),
      );
      for (const { time } of lines) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)$/);
    }
    expect(containerId(pod, 'main')).not.toBe('');
    await pods.delete('logs');
    await pods.gone('logs');
    await waitFor('its logs to go', () => !existsSync(pods.logFile(pod, 'main')));
  });
});
