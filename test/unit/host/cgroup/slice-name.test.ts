import { describe, expect, it } from 'vitest';
import { partOfSlice, slicePath, sliceUnit } from '../../../../src/host/cgroup/slice-name.ts';

describe('the names of slices', () => {
  it.each([
    ['/kubepods', '/kubepods.slice'],
    ['/kubepods/burstable', '/kubepods.slice/kubepods-burstable.slice'],
    ['/kubepods/poda-b_c', '/kubepods.slice/kubepods-poda_b_c.slice'],
    ['/my-root/kubepods', '/my_root.slice/my_root-kubepods.slice'],
  ])('%s is %s', (path, slice) => {
    expect(slicePath(path)).toBe(slice);
    expect(sliceUnit(path)).toBe(slice.split('/').at(-1));
  });

  it('finds the part again that a slice was named after, and nothing deeper or of others', () => {
    expect(partOfSlice('/kubepods', 'kubepods-poda_b.slice')).toBe('poda-b');
    expect(partOfSlice('/kubepods', 'kubepods-burstable-podx.slice')).toBeUndefined();
    expect(partOfSlice('/kubepods', 'system.slice')).toBeUndefined();
    expect(partOfSlice('/kubepods', 'kubepods-podx.scope')).toBeUndefined();
    expect(partOfSlice('/', 'kubepods.slice')).toBe('kubepods');
  });

  it('refuses what would lead out of the tree or break a unit’s name', () => {
    for (const path of ['/a/../b', 'a', '/a b', '/a\n']) expect(() => slicePath(path)).toThrow();
  });
});
