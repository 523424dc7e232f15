import { CodedError } from '../../kit/errors.ts';
import type { CriRuntime, VersionInfo } from './port.ts';

/** At start: asks the runtime's version, and throws Unimplemented unless it speaks CRI v1. */
export async function checkRuntimeApi(cri: Pick<CriRuntime, 'version'>, signal?: AbortSignal): Promise<VersionInfo> {
  const info = await cri.version(signal);
  if (info.runtimeApiVersion !== 'v1') {
    throw new CodedError(
      'Unimplemented',
      `container runtime ${info.runtimeName} ${info.runtimeVersion} speaks CRI ${info.runtimeApiVersion || '(none)'}, ` +
        'required is v1',
      { ...info },
    );
  }
  return info;
}
