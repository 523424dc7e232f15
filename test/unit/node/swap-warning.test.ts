import { describe, expect, it } from 'vitest';
import { swapWarning } from '../../../src/node/swap-warning.ts';

describe('a node that swaps', () => {
  it.each([
    ['6.1.0-18-amd64', true, true],
    ['5.15.0', true, true],
    ['6.3.13', true, true],
    ['6.4.0', true, false],
    ['6.18.2+', true, false],
    ['7.0.0', true, false],
    ['6.1.0', false, false],
  ])('with kernel %s, swap %s: is told that volumes in memory may reach the disk: %s', (kernel, swaps, told) => {
    const warning = swapWarning(kernel, swaps);
    expect(warning !== undefined).toBe(told);
    if (told) expect(warning).toMatchObject({ type: 'Warning', reason: 'PossibleMemoryBackedVolumesOnDisk' });
  });
});
