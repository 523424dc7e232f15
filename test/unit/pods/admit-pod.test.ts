import { describe, expect, it } from 'vitest';
import { admitPod } from '../../../src/pods/admit-pod.ts';
import { pod } from './builders.ts';

const facts = { allowedUnsafeSysctls: ['kernel.msg*', 'net.core.somaxconn'], kernelVersion: '6.1.0-18-amd64' };
const withSysctl = (name: string, more = {}) => pod({ securityContext: { sysctls: [{ name, value: '1' }] }, ...more });

describe('admitPod', () => {
  it.each(['net.ipv4.tcp_syncookies', 'net.ipv4.ip_unprivileged_port_start', 'kernel.msgmax', 'net.core.somaxconn'])(
    'takes a pod with %s',
    (name) => {
      expect(admitPod(withSysctl(name), facts)).toBeUndefined();
    },
  );

  it('takes a pod without sysctls', () => {
    expect(admitPod(pod(), facts)).toBeUndefined();
    expect(admitPod(pod({ securityContext: { sysctls: [] } }), facts)).toBeUndefined();
  });

  it.each([
    ['one that is neither safe nor allowed', withSysctl('kernel.shmmax')],
    ['one of the network, in the host network', withSysctl('net.ipv4.tcp_syncookies', { hostNetwork: true })],
    ['one of the IPC namespace, in the host’s', withSysctl('kernel.msgmax', { hostIPC: true })],
    ['one that the pattern only begins like', withSysctl('net.core.somaxconn2')],
  ])('refuses a pod with %s', (_name, refused) => {
    const refusal = admitPod(refused, facts);
    expect(refusal?.reason).toBe('SysctlForbidden');
    expect(refusal?.message).toContain(refused.spec.securityContext?.sysctls?.[0]?.name);
  });

  it('refuses what the kernel is too old for', () => {
    const old = { ...facts, kernelVersion: '3.10.0' };
    expect(admitPod(withSysctl('net.ipv4.tcp_keepalive_time'), old)?.reason).toBe('SysctlForbidden');
    expect(admitPod(withSysctl('net.ipv4.tcp_keepalive_time'), facts)).toBeUndefined();
  });
});
