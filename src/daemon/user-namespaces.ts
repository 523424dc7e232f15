import type { Programs } from '../host/command/port.ts';
import type { Files } from '../host/files/port.ts';
import { CodedError, hasCode } from '../kit/errors.ts';
import { defaultHostIds, type HostIds, hostIdsOf } from '../pods/user-namespaces/range.ts';

const GETSUBIDS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].map(
  (directory) => `${directory}/getsubids`,
);
const DEADLINE_MS = 10_000;
const OUTPUT_BYTES = 64 * 1024;

export interface HostIdsOptions {
  readonly idsPerPod: number;
  readonly maxPods: number;
}

/**
 * The ids of this host that pods' user namespaces may have: those subordinate to the user "kubelet" where there is one
 * and getsubids(1) can tell, else all but the host's own (kubelet_pods.go getKubeletMappings).
 */
export async function readHostIds(
  { idsPerPod, maxPods }: HostIdsOptions,
  { files, programs }: { readonly files: Pick<Files, 'read'>; readonly programs: Programs },
): Promise<HostIds> {
  const users = (await files.read('/etc/passwd')).toString().split('\n');
  if (!users.some((line) => line.startsWith('kubelet:'))) return defaultHostIds(idsPerPod);
  const path = await firstProgram(programs);
  if (path === undefined) return defaultHostIds(idsPerPod);
  const ask = async (args: readonly string[]): Promise<string> => {
    const limits = { environment: {}, input: '', deadlineMs: DEADLINE_MS, maxOutputBytes: OUTPUT_BYTES };
    const { failure, stdout, stderr } = await programs.run({ path, args, ...limits });
    if (failure === undefined) return stdout;
    throw new CodedError('CommandFailed', `${path} ${args.join(' ')}: ${failure}: ${stderr.trim()}`, { path });
  };
  const uids = await ask(['kubelet']);
  if (uids !== (await ask(['-g', 'kubelet']))) {
    throw new CodedError('InvalidConfig', 'mismatched subuids and subgids for user "kubelet"; expected the same', {});
  }
  return hostIdsOf(uids, idsPerPod, maxPods);
}

async function firstProgram(programs: Programs): Promise<string | undefined> {
  for (const path of GETSUBIDS) {
    try {
      await programs.check(path);
      return path;
    } catch (error) {
      if (!hasCode(error, 'NotFound', 'Forbidden')) throw error;
    }
  }
  return undefined;
}
