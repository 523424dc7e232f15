import { readFile } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import { type CgroupFiles, nodeCgroupFiles } from './cgroup-files.ts';
import { CgroupV1 } from './cgroup-v1.ts';
import { CgroupV2 } from './cgroup-v2.ts';
import { type Kill, sigkill } from './kill-and-remove.ts';
import { parseCgroupMounts } from './mounts.ts';
import type { CgroupPort } from './port.ts';

export interface OpenCgroupsOptions {
  /** Where the mounts are listed. Default /proc/self/mountinfo. */
  readonly mountinfoPath?: string;
}

export interface OpenCgroupsDeps {
  readonly clock: Clock;
  readonly files?: CgroupFiles;
  readonly kill?: Kill;
}

// A hierarchy with any of these makes a host a v1 host, whatever else is mounted (systemd's "hybrid" setup).
const V1_MARKS: ReadonlySet<string> = new Set(['cpu', 'memory', 'pids', 'cpuset']);

/** The cgroups of this host, v1 or v2 by what is mounted. Throws NotFound where neither is. */
export async function openCgroups(options: OpenCgroupsOptions, deps: OpenCgroupsDeps): Promise<CgroupPort> {
  const mountinfoPath = options.mountinfoPath ?? '/proc/self/mountinfo';
  const mounts = parseCgroupMounts(await readFile(mountinfoPath, 'utf8'));
  const removeDeps = { clock: deps.clock, files: deps.files ?? nodeCgroupFiles, kill: deps.kill ?? sigkill };
  if (mounts.some(({ controllers }) => controllers.some((name) => V1_MARKS.has(name))))
    return new CgroupV1(mounts, removeDeps);
  const unified = mounts.find(({ version }) => version === 2);
  if (unified === undefined) {
    throw new CodedError(
      'NotFound',
      `${mountinfoPath} shows no cgroup mounts; needs cgroup v2 at /sys/fs/cgroup or the v1 hierarchies (\`ip netns exec\` hides them: use nsenter --net)`,
    );
  }
  return CgroupV2.open(unified.mountPoint, removeDeps);
}
