import { StaticPodDecoder } from '../../../../src/daemon/static-pod-decoder.ts';
import { type Logger, silent } from '../../../../src/kit/log.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { staticPod } from '../../../../src/pods/sources/static-pod.ts';

export const NODE = 'node-1';

export function manifest(name: string, image = 'x', more = ''): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  containers: [{name: c, image: ${image}}]
${more}`;
}

/** What a file of this content makes. */
export async function podFrom(text: string, path = '/m/a.yaml', seenAt = 0): Promise<Pod> {
  const [decoded] = await new StaticPodDecoder().decode(text, path);
  if (decoded === undefined) throw new Error('no pod in it');
  return staticPod(decoded, { kind: 'file', path, nodeName: NODE }, { nodeName: NODE, seenAt });
}

export function collecting(): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const add =
    (level: string) =>
    (fields: object, message: string): void => {
      lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
    };
  const log: Logger = {
    ...silent,
    error: add('error'),
    warn: add('warn'),
    info: add('info'),
    debug: add('debug'),
    child: () => log,
  };
  return { log, lines };
}
