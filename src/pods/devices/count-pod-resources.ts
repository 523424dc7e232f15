import type { PodResourcesSource } from '../../host/pod-resources/port.ts';
import type { Metrics } from '../../kit/metrics.ts';

const VERSION = { server_api_version: 'v1' };

/** The same source, whose calls are counted as kubelet counts those of the pod-resources API. */
export function countPodResources(source: PodResourcesSource, metrics: Metrics): PodResourcesSource {
  const counter = (what: string, help: string) =>
    metrics.counter(`kubelet_pod_resources_endpoint_${what}`, help, ['server_api_version']);
  const all = counter('requests_total', 'Calls of the pod-resources API.');
  const counted = <T, A extends readonly unknown[]>(
    name: string,
    call: (...args: A) => T,
    isError: (answer: T) => boolean,
  ): ((...args: A) => T) => {
    const requests = counter(`requests_${name}`, `Calls of the pod-resources API of the kind ${name}.`);
    const errors = counter(`errors_${name}`, 'Of these, those that had no answer.');
    return (...args) => {
      all.inc(VERSION);
      requests.inc(VERSION);
      try {
        const answer = call(...args);
        if (isError(answer)) errors.inc(VERSION);
        return answer;
      } catch (error) {
        errors.inc(VERSION);
        throw error;
      }
    };
  };
  return {
    list: counted(
      'list',
      () => source.list(),
      () => false,
    ),
    allocatable: counted(
      'get_allocatable',
      () => source.allocatable(),
      () => false,
    ),
    get: counted(
      'get',
      (namespace: string, name: string) => source.get(namespace, name),
      (found) => found === undefined,
    ),
  };
}
