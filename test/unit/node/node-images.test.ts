import { describe, expect, it } from 'vitest';
import type { Image } from '../../../src/host/cri/port.ts';
import { type NodeFacts, type NodeStatusOptions, nodeStatus } from '../../../src/node/node-status.ts';

const options = {
  nodeName: 'n',
  nodeIPs: [],
  maxPods: 1,
  podsPerCore: 0,
  declaredFeatures: [],
} as unknown as NodeStatusOptions;
const image = (id: string, size: number, names: number): Image =>
  ({
    id,
    size,
    repoDigests: [`${id}@sha256:0`],
    repoTags: Array.from({ length: names }, (_, index) => `${id}:${index}`),
  }) as unknown as Image;

function shown(images: readonly Image[], maxImages: number): string[] {
  const facts = {
    machine: { cpuCount: 1, memoryBytes: 1, hugepages: [] },
    ips: { ips: [] },
    runtime: { images },
    unhealthy: [],
    pressures: new Set(),
    allocatable: () => ({}),
  } as unknown as NodeFacts;
  const status = nodeStatus(facts, { ...options, maxImages }, undefined, { now: 0, monotonic: 0 });
  return (status.images ?? []).map(({ names = [], sizeBytes }) => `${names.join(' ')} ${sizeBytes}`);
}

describe('images of the Node', () => {
  it('are the biggest, each with its digests and tags, five names at most', () => {
    const images = [image('a', 1, 1), image('b', 3, 9), image('c', 2, 0), image('d', 2, 0)];
    expect(shown(images, 3)).toEqual(['b@sha256:0 b:0 b:1 b:2 b:3 3', 'd@sha256:0 2', 'c@sha256:0 2']);
    expect(shown(images, -1)).toHaveLength(4);
    expect(shown(images, 0)).toEqual([]);
  });
});
