import { describe, expect, it } from 'vitest';
import type { Container, Pod, PodSecurityContext, SecurityContext } from '../../../../src/model/pod.ts';
import { containerSecurity } from '../../../../src/pods/security/container-security.ts';
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from '../../../../src/pods/security/default-paths.ts';
import { verifyRunAsNonRoot } from '../../../../src/pods/security/run-as-non-root.ts';
import { sandboxSecurity } from '../../../../src/pods/security/sandbox-security.ts';
import { forbiddenSysctl, normalizeSysctl } from '../../../../src/pods/security/sysctls.ts';

const options = { seccompProfileRoot: '/var/lib/kubelet/seccomp', seccompDefault: false };
const rootImage = { username: '' };

function podWith(securityContext?: PodSecurityContext, spec: Partial<Pod['spec']> = {}): Pod {
  return {
    metadata: { name: 'p', namespace: 'ns', uid: 'u' },
    spec: { containers: [{ name: 'c' }], ...(securityContext === undefined ? {} : { securityContext }), ...spec },
  };
}

function container(securityContext?: SecurityContext, extra: Partial<Container> = {}): Container {
  return { name: 'c', ...(securityContext === undefined ? {} : { securityContext }), ...extra };
}

describe('containerSecurity', () => {
  it('is plain by default', () => {
    expect(containerSecurity(podWith(), container(), rootImage, options)).toEqual({
      addCapabilities: [],
      dropCapabilities: [],
      privileged: false,
      namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' },
      runAsUser: 0,
      readonlyRootfs: false,
      supplementalGroups: [],
      noNewPrivs: false,
      maskedPaths: DEFAULT_MASKED_PATHS,
      readonlyPaths: DEFAULT_READONLY_PATHS,
      seccomp: { type: 'Unconfined' },
    });
    expect(DEFAULT_MASKED_PATHS).toContain('/proc/kcore');
    expect(DEFAULT_READONLY_PATHS).toContain('/proc/sys');
  });

  it('lets the container’s fields win over the pod’s', () => {
    const pod = podWith({
      runAsUser: 1,
      runAsGroup: 2,
      fsGroup: 3,
      supplementalGroups: [4, 3],
      supplementalGroupsPolicy: 'Strict',
      seLinuxOptions: { level: 's0' },
      seccompProfile: { type: 'RuntimeDefault' },
      appArmorProfile: { type: 'RuntimeDefault' },
    });
    const inherited = containerSecurity(pod, container(), rootImage, { ...options, extraGroups: [9] });
    expect(inherited).toMatchObject({
      runAsUser: 1,
      runAsGroup: 2,
      supplementalGroups: [3, 9, 4],
      supplementalGroupsPolicy: 'Strict',
      selinuxOptions: { user: '', role: '', type: '', level: 's0' },
      seccomp: { type: 'RuntimeDefault' },
      apparmor: { type: 'RuntimeDefault' },
    });
    const own = container({
      runAsUser: 11,
      runAsGroup: 12,
      privileged: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      procMount: 'Unmasked',
      capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
      seccompProfile: { type: 'Localhost', localhostProfile: 'a/b.json' },
      appArmorProfile: { type: 'Localhost', localhostProfile: 'mine' },
      seLinuxOptions: { type: 't' },
    });
    expect(containerSecurity(pod, own, rootImage, { ...options, extraMaskedPaths: ['/x'] })).toMatchObject({
      runAsUser: 11,
      runAsGroup: 12,
      privileged: true,
      noNewPrivs: true,
      readonlyRootfs: true,
      maskedPaths: [],
      readonlyPaths: [],
      addCapabilities: ['NET_ADMIN'],
      dropCapabilities: ['ALL'],
      seccomp: { type: 'Localhost', localhostRef: '/var/lib/kubelet/seccomp/a/b.json' },
      apparmor: { type: 'Localhost', localhostRef: 'mine' },
      selinuxOptions: { type: 't', level: '' },
    });
  });

  it('passes the image’s user on where the pod names none', () => {
    const user = (image: { uid?: number; username: string }, context?: SecurityContext) => {
      const { runAsUser, runAsUsername } = containerSecurity(podWith(), container(context), image, options);
      return [runAsUser, runAsUsername];
    };
    expect(user({ uid: 7, username: '' })).toEqual([7, undefined]);
    expect(user({ username: 'www' })).toEqual([undefined, 'www']);
    expect(user({ username: 'www' }, { runAsUser: 5 })).toEqual([5, undefined]);
  });

  it('chooses seccomp and AppArmor profiles', () => {
    const withDefault = { ...options, seccompDefault: true };
    expect(containerSecurity(podWith(), container(), rootImage, withDefault).seccomp).toEqual({
      type: 'RuntimeDefault',
    });
    for (const localhostProfile of ['', '../x', '/abs', 'a/../../x']) {
      const bad = container({ seccompProfile: { type: 'Localhost', localhostProfile } });
      expect(() => containerSecurity(podWith(), bad, rootImage, options)).toThrow('localhostProfile');
    }
    const annotated = podWith({ appArmorProfile: { type: 'Unconfined' } });
    annotated.metadata.annotations = { 'container.apparmor.security.beta.kubernetes.io/c': 'localhost/old' };
    expect(containerSecurity(annotated, container(), rootImage, options).apparmor).toEqual({
      type: 'Localhost',
      localhostRef: 'old',
    });
    const field = container({ appArmorProfile: { type: 'RuntimeDefault' } });
    expect(containerSecurity(annotated, field, rootImage, options).apparmor).toEqual({ type: 'RuntimeDefault' });
    annotated.metadata.annotations = { 'container.apparmor.security.beta.kubernetes.io/c': 'nonsense' };
    expect(() => containerSecurity(annotated, container(), rootImage, options)).toThrow('invalid AppArmor profile');
  });

  it.each([
    [{ hostNetwork: true }, {}, { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' }],
    [{ hostPID: true, hostIPC: true }, {}, { network: 'POD', pid: 'NODE', ipc: 'NODE' }],
    [{ shareProcessNamespace: true }, {}, { network: 'POD', pid: 'POD', ipc: 'POD' }],
    [{}, { targetContainerName: 'x' }, { network: 'POD', pid: 'TARGET', ipc: 'POD', targetId: 'id' }],
  ])('shares the namespaces of %j', (spec, extra, expected) => {
    const result = containerSecurity(podWith(undefined, spec), container(undefined, extra), rootImage, {
      ...options,
      targetId: 'id',
    });
    expect(result.namespaceOptions).toEqual(expected);
  });
});

describe('verifyRunAsNonRoot', () => {
  const where = '(pod: "p_ns(u)", container: c)';
  it.each<[PodSecurityContext, SecurityContext, { uid?: number; username: string }, string | undefined]>([
    [{}, {}, { uid: 0, username: '' }, undefined],
    [{ runAsNonRoot: true }, { runAsNonRoot: false }, { uid: 0, username: '' }, undefined],
    [{ runAsNonRoot: true }, {}, { uid: 1000, username: '' }, undefined],
    [{ runAsNonRoot: true, runAsUser: 5 }, {}, { uid: 0, username: '' }, undefined],
    [
      { runAsNonRoot: true, runAsUser: 5 },
      { runAsUser: 0 },
      { uid: 9, username: '' },
      `container's runAsUser breaks non-root policy ${where}`,
    ],
    [
      {},
      { runAsNonRoot: true },
      { uid: 0, username: '' },
      `container has runAsNonRoot and image will run as root ${where}`,
    ],
    [{}, { runAsNonRoot: true }, { username: '' }, `container has runAsNonRoot and image will run as root ${where}`],
    [
      {},
      { runAsNonRoot: true },
      { username: 'www' },
      `container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root ${where}`,
    ],
  ])('pod %j, container %j, image %j', (podContext, own, image, message) => {
    const verify = () => verifyRunAsNonRoot(podWith(podContext), container(own), image);
    if (message === undefined) expect(verify).not.toThrow();
    else
      expect(verify).toThrow(
        expect.objectContaining({ message, metadata: { reason: 'CreateContainerConfigError', container: 'c' } }),
      );
  });
});

describe('sandboxSecurity', () => {
  it('carries the pod’s part, with the default seccomp profile', () => {
    const pod = podWith(
      {
        runAsUser: 1,
        runAsGroup: 2,
        fsGroup: 3,
        supplementalGroups: [4],
        supplementalGroupsPolicy: 'Merge',
        seccompProfile: { type: 'Unconfined' },
        sysctls: [{ name: 'net/ipv4/conf/eth0.1/rp_filter', value: '1' }],
      },
      { hostIPC: true, initContainers: [{ name: 'i', securityContext: { privileged: true } }] },
    );
    expect(sandboxSecurity(pod)).toEqual({
      namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'NODE' },
      runAsUser: 1,
      runAsGroup: 2,
      readonlyRootfs: false,
      supplementalGroups: [3, 4],
      supplementalGroupsPolicy: 'Merge',
      privileged: true,
      seccomp: { type: 'RuntimeDefault' },
      sysctls: { 'net.ipv4.conf.eth0/1.rp_filter': '1' },
    });
    expect(sandboxSecurity(podWith({ runAsGroup: 2 }))).not.toHaveProperty('runAsGroup');
    expect(sandboxSecurity(podWith()).privileged).toBe(false);
  });
});

describe('sysctls', () => {
  it.each([
    ['kernel.shm_rmid_forced', 'kernel.shm_rmid_forced'],
    ['kernel/shm_rmid_forced', 'kernel.shm_rmid_forced'],
    ['net.ipv4.conf.eth0/1.x', 'net.ipv4.conf.eth0/1.x'],
    ['plain', 'plain'],
  ])('%s is %s', (given, expected) => expect(normalizeSysctl(given)).toBe(expected));

  it.each([
    ['net.ipv4.tcp_syncookies', {}, [], '6.1', undefined],
    ['net/ipv4/tcp_syncookies', {}, [], '6.1', undefined],
    ['net.ipv4.tcp_rmem', {}, [], '4.14.0', 'not allowlisted'],
    ['net.ipv4.tcp_rmem', {}, [], '4.15.0-x', undefined],
    ['kernel.msgmax', {}, [], '6.1', 'not allowlisted'],
    ['kernel.msgmax', {}, ['kernel.msg*'], '6.1', undefined],
    ['net.core.somaxconn', {}, ['net.core.somaxconn'], '6.1', undefined],
    ['vm.swappiness', {}, ['vm.*'], '6.1', 'not allowlisted'],
    ['net.ipv4.tcp_syncookies', { hostNetwork: true }, [], '6.1', 'not allowed with host net enabled'],
    ['kernel.shm_rmid_forced', { hostIPC: true }, [], '6.1', 'not allowed with host ipc enabled'],
  ])('%s in %j with %j on %s', (name, spec, allowed, kernel, why) => {
    const refusal = forbiddenSysctl(podWith({ sysctls: [{ name, value: '1' }] }, spec), allowed, kernel);
    if (why === undefined) expect(refusal).toBeUndefined();
    else expect(refusal).toContain(why);
  });
});
