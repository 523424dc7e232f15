import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../../src/model/pod.ts';
import { shutdownGroups, shutdownPeriods } from '../../../../src/node/shutdown/shutdown-groups.ts';

const CRITICAL = 2_000_000_000;
const pod = (name: string, priority?: number): Pod => ({
  metadata: { name },
  spec: { containers: [], ...(priority === undefined ? {} : { priority }) },
});

describe('shutdown periods', () => {
  it.each([
    ['nothing said', { allMs: 0, criticalMs: 0, byPriority: [] }, []],
    [
      'one for all, none of it for critical pods',
      { allMs: 30_000, criticalMs: 0, byPriority: [] },
      [
        { priority: 0, seconds: 30 },
        { priority: CRITICAL, seconds: 0 },
      ],
    ],
    [
      'the last part for critical pods',
      { allMs: 30_000, criticalMs: 10_000, byPriority: [] },
      [
        { priority: 0, seconds: 20 },
        { priority: CRITICAL, seconds: 10 },
      ],
    ],
    [
      'by priority, in whatever order',
      {
        allMs: 0,
        criticalMs: 0,
        byPriority: [
          { priority: 100, seconds: 5 },
          { priority: 0, seconds: 60 },
        ],
      },
      [
        { priority: 0, seconds: 60 },
        { priority: 100, seconds: 5 },
      ],
    ],
  ])('%s', (_what, given, expected) => {
    expect(shutdownPeriods(given)).toEqual(expected);
  });

  it('each pod belongs to the highest priority not above its own, the lowest has all below it', () => {
    const periods = [
      { priority: 10, seconds: 1 },
      { priority: 100, seconds: 2 },
      { priority: CRITICAL, seconds: 3 },
    ];
    const pods = [
      pod('none'),
      pod('below', -5),
      pod('at', 10),
      pod('between', 99),
      pod('upper', 100),
      pod('top', CRITICAL + 1000),
    ];
    const groups = shutdownGroups(periods, pods);
    expect(groups.map((group) => group.pods.map(({ metadata }) => metadata.name))).toEqual([
      ['none', 'below', 'at', 'between'],
      ['upper'],
      ['top'],
    ]);
  });
});
