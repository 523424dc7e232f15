import type { Pod } from '../model/pod.ts';
import { forbiddenSysctl } from './security/sysctls.ts';

export interface Refusal {
  /** The status reason, in kubelet's words. */
  readonly reason: string;
  readonly message: string;
}

export interface AdmissionFacts {
  /** KubeletConfiguration allowedUnsafeSysctls. */
  readonly allowedUnsafeSysctls: readonly string[];
  /** As uname -r. */
  readonly kernelVersion: string;
}

/** Why this node will not run a pod, or undefined (kubelet lifecycle admission; resources and affinity follow with clusters). */
export function admitPod(pod: Pod, facts: AdmissionFacts): Refusal | undefined {
  const sysctl = forbiddenSysctl(pod, facts.allowedUnsafeSysctls, facts.kernelVersion);
  return sysctl === undefined ? undefined : { reason: 'SysctlForbidden', message: sysctl };
}
