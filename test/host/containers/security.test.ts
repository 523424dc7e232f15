import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import type { Container, PodSpec, SecurityContext } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { ociImage } from '../../harness/oci-image.ts';
import { containerStatus } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods, refusal } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-containers-sec';
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

const NO_MKDIR = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
};
const lineOf = (log: string, word: string): string =>
  log
    .split('\n')
    .find((line) => line.startsWith(`${word}:`))
    ?.slice(word.length + 1)
    .trim() ?? '';

describe('the security of containers', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let self: Node;

  beforeAll(async () => {
    node = await startNode(NAME, {
      beforeDeckhand: ({ paths }) => {
        const folder = `${paths.libDir}/kubelet/seccomp/profiles`;
        mkdirSync(folder, { recursive: true });
        writeFileSync(`${folder}/no-mkdir.json`, JSON.stringify(NO_MKDIR));
        writeFileSync(`${folder}/spoilt.json`, '{');
      },
    });
    pods = new NodePods(node);
    const { api, nodeName } = node.deckhand;
    self = await waitFor('the Node', () => api.find<Node>(resources.nodes, undefined, nodeName));
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  /** Runs a pod that prints something and stays; returns it and its log once "done" is in it. */
  const printed = async (
    name: string,
    script: string,
    securityContext: SecurityContext = {},
    spec: Partial<PodSpec> = {},
    more: Partial<Container> = {},
  ) => {
    await pods.create(podOf(name, sh(`(${script}) 2>&1; echo done; ${STAY}`, { securityContext, ...more }), spec));
    const pod = await pods.ready(name);
    return { pod, log: await pods.untilLog(pod, 'done\n') };
  };
  const waits = (name: string, reason: string) =>
    pods.until(name, `wait with ${reason}`, (pod) => {
      const waiting = containerStatus(pod, 'main')?.state?.waiting;
      return waiting?.reason === reason && (waiting.message ?? '-');
    });

  // ── profiles ──────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('seccomp: Localhost, RuntimeDefault and Unconfined, of the pod and of one container', async () => {
    const look = 'grep Seccomp: /proc/self/status; mkdir /tmp/made && echo made';
    const local = { type: 'Localhost' as const, localhostProfile: 'profiles/no-mkdir.json' };
    const [own, ofPod, over, dflt, none] = await Promise.all([
      printed('seccomp-own', look, { seccompProfile: local }),
      printed('seccomp-pod', look, {}, { securityContext: { seccompProfile: local } }),
      printed(
        'seccomp-over',
        look,
        { seccompProfile: { type: 'Unconfined' } },
        { securityContext: { seccompProfile: local } },
      ),
      printed('seccomp-default', look, { seccompProfile: { type: 'RuntimeDefault' } }),
      printed('seccomp-none', look),
    ]);
    for (const { log } of [own, ofPod]) {
      expect(log).toContain("can't create directory '/tmp/made': Operation not permitted");
      expect(log).not.toMatch(/^made$/m);
    }
    expect([own, ofPod, over, dflt, none].map(({ log }) => lineOf(log, 'Seccomp'))).toEqual(['2', '2', '0', '2', '0']);
    for (const { log } of [over, dflt, none]) expect(log).toMatch(/^made$/m);
  });

  it.concurrent('seccomp: a profile is a file below the node’s folder, or the container does not start', async () => {
    const profile = (localhostProfile: string) => ({
      seccompProfile: { type: 'Localhost' as const, localhostProfile },
    });
    for (const [index, path] of ['../../secret', '/etc/passwd', 'a/../../b'].entries()) {
      const pod = podOf(`seccomp-out-${index}`, sh(STAY, { securityContext: profile(path) }));
      const said = await refusal(pods.create(pod));
      expect(said.status).toBe(422);
      expect(said.message).toContain('localhostProfile');
    }
    for (const [name, path] of [
      ['seccomp-absent', 'profiles/none.json'],
      ['seccomp-spoilt', 'profiles/spoilt.json'],
    ] as const) {
      await pods.create(podOf(name, sh(STAY, { securityContext: profile(path) })));
      const message = await waits(name, 'CreateContainerError');
      expect(message).toContain('seccomp');
    }
  });

  it.concurrent('AppArmor is enforced or refused; SELinux options are passed on', async () => {
    const there = existsSync('/sys/module/apparmor/parameters/enabled');
    const appArmorProfile = { type: 'RuntimeDefault' as const };
    await pods.create(podOf('apparmor', sh(STAY, { securityContext: { appArmorProfile } })));
    if (there) await pods.ready('apparmor');
    else {
      const pod = await pods.phase('apparmor', 'Failed');
      expect(pod.status).toMatchObject({
        reason: 'AppArmor',
        message: 'Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host',
      });
    }
    await printed('apparmor-not', 'true', { appArmorProfile: { type: 'Unconfined' } });
    // A kernel without SELinux has nothing to enforce; with it the runtime labels the container.
    await printed('selinux', 'true', { seLinuxOptions: { level: 's0:c1,c2', type: 'container_t' } });
  });

  // ── users and groups ────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('the image’s user, and runAsNonRoot against it', async () => {
    const images = [
      ['deckhand.local/numbered:1', '1000:1000'],
      ['deckhand.local/named:1', 'web'],
    ] as const;
    for (const [reference, User] of images) {
      const path = `${node.run.paths.runDir}/${reference.replace(/\W/g, '-')}.tar`;
      const entries = [
        { type: 'directory' as const, path: 'bin' },
        { type: 'file' as const, path: 'bin/busybox', mode: 0o755, content: readFileSync('/bin/busybox') },
        ...['sh', 'sleep', 'id', 'grep'].map((name) => ({
          type: 'symlink' as const,
          path: `bin/${name}`,
          target: 'busybox',
        })),
        { type: 'directory' as const, path: 'etc' },
        { type: 'file' as const, path: 'etc/passwd', content: 'root:x:0:0::/:\nweb:x:1000:1000::/:\n' },
        { type: 'file' as const, path: 'etc/group', content: 'web:x:1000:\nextra:x:4242:web\n' },
      ];
      writeFileSync(path, ociImage(reference, entries, { Env: ['PATH=/bin'], User }));
      await node.containerd.importImages([{ reference, path }]);
    }
    const ids = 'id -u; id -g; id -G';
    const [numbered, named] = images.map(([image]) => ({ image }));
    const [plain, asNamed, nonRoot, over] = await Promise.all([
      printed('image-user', ids, {}, {}, numbered),
      printed('image-name', ids, {}, {}, named),
      printed('image-non-root', ids, { runAsNonRoot: true }, {}, numbered),
      printed(
        'image-over',
        ids,
        { runAsUser: 7, runAsGroup: 8 },
        { securityContext: { supplementalGroups: [9] } },
        named,
      ),
    ]);
    expect(plain.log.split('\n').slice(0, 2)).toEqual(['1000', '1000']);
    // Groups that the image gives its user are merged in.
    expect(asNamed.log.split('\n')[2]?.split(' ')).toContain('4242');
    expect(nonRoot.log.split('\n')[0]).toBe('1000');
    expect(over.log.split('\n').slice(0, 3)).toEqual(['7', '8', '8 9']);
    expect(containerStatus(await pods.get('image-over'), 'main')?.user?.linux).toMatchObject(
      self.status?.features?.supplementalGroupsPolicy === true ? { uid: 7, gid: 8 } : {},
    );
    for (const [name, more, securityContext, why] of [
      [
        'non-root-name',
        named,
        { runAsNonRoot: true },
        'image has non-numeric user (web), cannot verify user is non-root',
      ],
      ['non-root-zero', numbered, { runAsNonRoot: true, runAsUser: 0 }, 'runAsUser breaks non-root policy'],
    ] as const) {
      await pods.create(podOf(name, sh(STAY, { ...more, securityContext })));
      expect(await waits(name, 'CreateContainerConfigError')).toContain(why);
    }
  });

  it.concurrent('supplementalGroupsPolicy Strict is kept, or refused where the runtime cannot', async () => {
    const securityContext = {
      runAsUser: 1000,
      supplementalGroups: [60_000],
      supplementalGroupsPolicy: 'Strict' as const,
    };
    await pods.create(podOf('strict', sh(`id -G; echo done; ${STAY}`), { securityContext }));
    if (self.status?.features?.supplementalGroupsPolicy === true) {
      const log = await pods.untilLog(await pods.ready('strict'), 'done');
      // The group that the image gives the user as its first, and what the pod says; no others.
      expect(log.split('\n')[0]?.split(' ').sort()).toEqual(['1000', '60000']);
    } else {
      expect((await pods.phase('strict', 'Failed')).status).toMatchObject({
        reason: 'SupplementalGroupsPolicyNotSupported',
        message: 'Pod was rejected: SupplementalGroupsPolicy=Strict is not supported in this node',
      });
    }
    const merged = { ...securityContext, supplementalGroupsPolicy: 'Merge' as const };
    expect((await printed('merge', 'id -G', {}, { securityContext: merged })).log).toContain('60000');
  });

  // ── privileges ────────────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('privileged: all capabilities, the host’s devices, nothing masked', async () => {
    const fuse = { volumes: [{ name: 'fuse', hostPath: { path: '/dev/fuse', type: 'CharDevice' as const } }] };
    const mount = { volumeMounts: [{ name: 'fuse', mountPath: '/dev/mine' }] };
    const look =
      'grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/self/status; ls /dev/loop-control; ' +
      'ls -d /proc/kcore /proc/timer_list; (exec 3<>/dev/mine) && echo opened; ' +
      '(cat /proc/sys/kernel/pid_max > /proc/sys/kernel/pid_max) && echo wrote; mount -t tmpfs none /tmp && echo mounted';
    const [all, plain] = await Promise.all([
      printed('privileged', look, { privileged: true }, fuse, mount),
      printed('unprivileged', look, {}, fuse, mount),
    ]);
    const effective = (log: string): bigint => BigInt(`0x${lineOf(log, 'CapEff')}`);
    const SYS_ADMIN = 1n << 21n;
    expect(effective(all.log) & SYS_ADMIN).toBe(SYS_ADMIN);
    expect(effective(plain.log) & SYS_ADMIN).toBe(0n);
    expect(all.log).toContain('/dev/loop-control\n');
    expect(plain.log).toContain('/dev/loop-control: No such file');
    for (const done of ['opened', 'wrote', 'mounted']) {
      expect(all.log).toMatch(new RegExp(`^${done}$`, 'm'));
      expect(plain.log).not.toMatch(new RegExp(`^${done}$`, 'm'));
    }
    // The file is there, but the device is not this container's.
    expect(plain.log).toContain('/dev/mine: Operation not permitted');
    expect(plain.log).toContain('Read-only file system');
  });

  it.concurrent('procMount Default hides and locks parts of /proc; Unmasked wants a user namespace', async () => {
    const { pod } = await printed('masked', 'true');
    const mounts = readFileSync(`/proc/${await pods.pid(pod)}/mountinfo`, 'utf8')
      .split('\n')
      .map((line) => line.split(' '));
    const at = (path: string) => mounts.find((fields) => fields[4] === path);
    for (const path of ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware']) {
      if (existsSync(path)) expect(at(path), path).toBeDefined();
    }
    for (const path of ['/proc/sys', '/proc/sysrq-trigger', '/proc/bus']) {
      if (existsSync(path)) expect(at(path)?.[5], path).toMatch(/^ro,/);
    }
    const unmasked = podOf('unmasked', sh(STAY, { securityContext: { procMount: 'Unmasked' } }));
    expect((await refusal(pods.create(unmasked))).message).toContain('`hostUsers` must be false to use `Unmasked`');
  });

  // ── namespaces and sysctls ────────────────────────────────────────────────────────────────────────────────────────────

  it.concurrent('hostPID and hostIPC share the host’s namespaces, others have their own', async () => {
    const [pid, ipc, own] = await Promise.all([
      printed('host-pid', 'true', {}, { hostPID: true }),
      printed('host-ipc', 'true', {}, { hostIPC: true }),
      printed('own-namespaces', 'true'),
    ]);
    const shared = async ({ pod }: typeof own): Promise<string[]> => {
      const process = await pods.pid(pod);
      return ['pid', 'ipc', 'net', 'uts', 'mnt', 'cgroup'].filter((kind) => {
        return readlinkSync(`/proc/${process}/ns/${kind}`) === readlinkSync(`/proc/${node.deckhand.pid}/ns/${kind}`);
      });
    };
    expect(await shared(pid)).toContain('pid');
    expect(await shared(pid)).not.toContain('ipc');
    expect(await shared(ipc)).toContain('ipc');
    expect(await shared(ipc)).not.toContain('pid');
    for (const kind of ['pid', 'ipc', 'net', 'uts', 'mnt']) expect(await shared(own)).not.toContain(kind);
  });

  it.concurrent('sysctls: safe ones are set, by either spelling; others fail the pod', async () => {
    const look = 'cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range';
    const sysctls = [
      { name: 'kernel.shm_rmid_forced', value: '1' },
      { name: 'net/ipv4/ip_local_port_range', value: '40000 40100' },
    ];
    const { log } = await printed('sysctls', look, {}, { securityContext: { sysctls } });
    expect(log).toMatch(/^1\n40000\s40100\n/);
    const unsafe = { sysctls: [{ name: 'kernel.msgmax', value: '65536' }] };
    await pods.create(podOf('unsafe', sh(STAY), { securityContext: unsafe }));
    expect((await pods.phase('unsafe', 'Failed')).status).toMatchObject({
      reason: 'SysctlForbidden',
      message: 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
    });
  });

  it.concurrent('hostUsers false: users of its own, or a refusal where the runtime has none', async () => {
    const able =
      self.status?.runtimeHandlers?.find(({ name = '' }) => name === '')?.features?.['userNamespaces'] === true;
    const look = 'cat /proc/self/uid_map; id -u; echo x > /v/mine; touch /tmp/t; stat -c %u /etc/hosts /v /v/mine';
    const spec = { hostUsers: false, volumes: [{ name: 'v', emptyDir: {} }] };
    const container = sh(`(${look}) 2>&1; echo done; ${STAY}`, { volumeMounts: [{ name: 'v', mountPath: '/v' }] });
    const wanted = await Promise.all(['users-1', 'users-2'].map((name) => pods.create(podOf(name, container, spec))));
    const file = (uid: string | undefined): string => `${node.run.paths.libDir}/kubelet/pods/${uid}/userns`;
    if (!able) {
      const { message } = await pods.untilEvent('users-1', 'FailedCreatePodSandBox');
      expect(message).toContain("can't set `spec.hostUsers: false`, runtime does not support user namespaces");
      expect((await pods.get('users-1')).status?.phase).toBe('Pending');
      expect(await pods.sandboxIds(await pods.get('users-1'))).toEqual([]);
      expect(existsSync(file(wanted[0]?.metadata.uid))).toBe(false);
      return;
    }
    const starts = await Promise.all(
      ['users-1', 'users-2'].map(async (name) => {
        const pod = await pods.ready(name);
        const log = await pods.untilLog(pod, 'done\n');
        const [, host, length] = log.split('\n')[0]?.trim().split(/\s+/).map(Number) ?? [];
        expect(log.split('\n').slice(1)).toEqual(['0', '0', '0', '0', 'done', '']);
        expect([length, (host ?? 1) % 65_536]).toEqual([65_536, 0]);
        const said = JSON.parse(readFileSync(file(pod.metadata.uid), 'utf8'));
        expect(said.uidMappings).toEqual([{ hostId: host, containerId: 0, length: 65_536 }]);
        const process = await pods.pid(pod);
        expect(readFileSync(`/proc/${process}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\\t${host}\\t`, 'm'));
        return host;
      }),
    );
    console.log(`users of pods begin at ${starts.join(' and ')}`);
    expect(new Set(starts).size).toBe(2);
    // Unmasked is allowed here.
    await printed('users-unmasked', 'true', { procMount: 'Unmasked' }, { hostUsers: false });
    const pod = await pods.get('users-1');
    await pods.delete('users-1', 1);
    await pods.gone('users-1');
    expect(existsSync(file(pod.metadata.uid))).toBe(false);
  });
});
