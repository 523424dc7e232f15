import { expect, it } from 'vitest';
import { Metrics } from '../../../../src/kit/metrics.ts';
import { countPodResources } from '../../../../src/pods/devices/count-pod-resources.ts';

it('counts what the pod-resources API is asked, and what it cannot answer', async () => {
  const metrics = new Metrics();
  let allowed = true;
  const source = countPodResources(
    {
      list: () => {
        if (!allowed) throw new Error('too often');
        return [];
      },
      allocatable: () => ({ devices: [], cpuIds: [], memory: [] }),
      get: (_namespace, name) => (name === 'there' ? { name, namespace: 'ns', containers: [] } : undefined),
    },
    metrics,
  );
  expect(source.list()).toEqual([]);
  allowed = false;
  expect(() => source.list()).toThrow('too often');
  expect(source.get('ns', 'there')?.name).toBe('there');
  expect(source.get('ns', 'gone')).toBeUndefined();
  source.allocatable();
  const text = await metrics.text();
  const value = (name: string): number =>
    Number(
      new RegExp(`^kubelet_pod_resources_endpoint_${name}\\{server_api_version="v1"\\} (\\d+)$`, 'm').exec(text)?.[1] ??
        0,
    );
  expect(['requests_total', 'requests_list', 'requests_get', 'requests_get_allocatable'].map(value)).toEqual([
    5, 2, 2, 1,
  ]);
  expect(['errors_list', 'errors_get', 'errors_get_allocatable'].map(value)).toEqual([1, 1, 0]);
});
