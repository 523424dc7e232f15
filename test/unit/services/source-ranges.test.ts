import { describe, expect, it } from 'vitest';
import { serviceRules } from '../../../src/services/policy/service-rules.ts';
import { facts, nodeIP, service, slice } from './support/objects.ts';

const rangesOf = (ranges: string[]) => {
  const balancer = service('ns/a', { clusterIP: '172.30.0.1', loadBalancerSourceRanges: ranges });
  const { rules, problems } = serviceRules({
    service: balancer,
    slices: [slice('ns/a', ['10.1.0.1'])],
    family: 'IPv4',
    facts,
    local: () => undefined,
  });
  const { sourceRanges, sourceRangesHaveNode } = rules[0] ?? {};
  return { sourceRanges, sourceRangesHaveNode, problems: problems.map(({ message }) => message) };
};

describe('loadBalancerSourceRanges', () => {
  it('the whole address space, alone or among others, is no restriction', () => {
    const none = { sourceRanges: [], sourceRangesHaveNode: true, problems: [] };
    expect(rangesOf(['0.0.0.0/0'])).toEqual(none);
    expect(rangesOf(['10.0.0.0/8', ' 0.0.0.0/0'])).toEqual(none);
  });

  it('the whole space of the other family restricts this one nonetheless', () => {
    expect(rangesOf(['::/0', '10.0.0.0/8'])).toMatchObject({ sourceRanges: ['10.0.0.0/8'] });
  });

  it('are made canonical, say whether the node is in them, and are skipped by name where they are wrong', () => {
    expect(rangesOf([' 10.9.8.7/8', `${nodeIP}/32`, 'nonsense'])).toEqual({
      sourceRanges: ['10.0.0.0/8', `${nodeIP}/32`],
      sourceRangesHaveNode: true,
      problems: [expect.stringContaining('skips "nonsense" in spec.loadBalancerSourceRanges')],
    });
  });
});
