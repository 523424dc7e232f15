import { CodedError } from '../../kit/errors.ts';
import type { QOSClass } from '../../model/pod.ts';

const POD_PREFIX = 'pod';

/** Where the cgroups of pods are, as the cgroupfs driver names them (kubelet pod_container_manager_linux.go). */
export interface CgroupPaths {
  /** "/kubepods", below --cgroup-root. */
  readonly root: string;
  readonly burstable: string;
  readonly besteffort: string;
}

/** Throws InvalidConfig when the root is no absolute path. */
export function cgroupPathsBelow(cgroupRoot: string): CgroupPaths {
  if (!cgroupRoot.startsWith('/') || cgroupRoot.split('/').includes('..')) {
    throw new CodedError(
      'InvalidConfig',
      `cgroup root is ${JSON.stringify(cgroupRoot)}, needs an absolute path such as /`,
    );
  }
  const parts = cgroupRoot.split('/').filter((part) => part !== '' && part !== '.');
  const root = `/${[...parts, 'kubepods'].join('/')}`;
  return { root, burstable: `${root}/burstable`, besteffort: `${root}/besteffort` };
}

/** The cgroup below which all pods of a class are: guaranteed pods stand directly below the root. */
export function qosPath(paths: CgroupPaths, qos: QOSClass): string {
  return qos === 'Guaranteed' ? paths.root : qos === 'Burstable' ? paths.burstable : paths.besteffort;
}

export function podCgroupPath(paths: CgroupPaths, qos: QOSClass, uid: string): string {
  if (!/^[A-Za-z0-9-]+$/.test(uid)) {
    throw new CodedError(
      'InvalidObject',
      `pod UID ${JSON.stringify(uid)} cannot name a cgroup, needs letters, digits and dashes`,
    );
  }
  return `${qosPath(paths, qos)}/${POD_PREFIX}${uid}`;
}

/** The pod UID in a cgroup's name, or undefined when it is none of a pod. */
export function uidInCgroupName(name: string): string | undefined {
  return name.startsWith(POD_PREFIX) && name.length > POD_PREFIX.length ? name.slice(POD_PREFIX.length) : undefined;
}
