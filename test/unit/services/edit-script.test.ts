import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Edit, editScript } from '../../../src/services/delta/iptables/edit-script.ts';

function apply(from: readonly string[], edits: readonly Edit[]): string[] {
  const list = [...from];
  for (const edit of edits) {
    if (edit.kind === 'insert') list.splice(edit.position, 0, edit.text);
    else list.splice(list.indexOf(edit.text), 1);
  }
  return list;
}

describe('editScript', () => {
  it('turns any sorted list into any other, with no edit too many', () => {
    const sorted = fc
      .uniqueArray(fc.integer({ min: 0, max: 30 }))
      .map((list) => list.sort((a, b) => a - b).map(String));
    fc.assert(
      fc.property(sorted, sorted, (from, to) => {
        const edits = editScript(from, to);
        expect(edits).toBeDefined();
        expect(apply(from, edits ?? [])).toEqual(to);
        const staying = from.filter((text) => to.includes(text)).length;
        expect(edits).toHaveLength(from.length + to.length - 2 * staying);
      }),
    );
  });

  it('gives up on another order and on repeated texts', () => {
    expect(editScript(['a', 'b', 'c'], ['b', 'a', 'c'])).toBeUndefined();
    expect(editScript(['a', 'a'], ['a'])).toBeUndefined();
    expect(editScript(['a'], ['a', 'b', 'b'])).toBeUndefined();
    expect(editScript(['a', 'b'], ['a', 'b'])).toEqual([]);
  });
});
