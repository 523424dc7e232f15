import type { Container, Pod, PodSpec } from '../../../../src/model/pod.ts';
import { BUSYBOX_IMAGE, WEB_IMAGE } from '../../../harness/images.ts';

/** Shell text that stays until SIGTERM and then ends with 0 at once. */
export const STAY = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done";

/** A busybox container called "main" that runs a shell script. */
export function sh(script: string, more: Partial<Container> = {}): Container {
  return { name: 'main', image: BUSYBOX_IMAGE, command: ['sh', '-c', script], ...more };
}

/** A web server container; ready as soon as it answers. */
export function web(more: Partial<Container> = {}): Container {
  return {
    name: 'web',
    image: WEB_IMAGE,
    ports: [{ name: 'http', containerPort: 8080 }],
    env: [{ name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
    readinessProbe: { httpGet: { path: '/readyz', port: 'http' }, periodSeconds: 1, failureThreshold: 1 },
    ...more,
  };
}

/** A pod in "default" with a grace period of one second, so that deleting costs no time. */
export function podOf(
  name: string,
  containers: Container | Container[],
  spec: Partial<PodSpec> = {},
  metadata: Partial<Pod['metadata']> = {},
): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', ...metadata },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: Array.isArray(containers) ? containers : [containers],
      ...spec,
    },
  };
}
