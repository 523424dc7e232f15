import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Hint, Hints } from '../../../../src/pods/managers/hints.ts';
import { mergeHints, type NumaInfo } from '../../../../src/pods/managers/merge-hints.ts';
import { maskOf, masksOf, nodesOf, sizeOf } from '../../../../src/pods/managers/numa-mask.ts';

const NODES = [0, 1, 2, 3];
/** Nodes 0 and 3 are near to each other, as are 1 and 2. */
const far = (from: number, to: number): number => (from === to ? 10 : from + to === 3 ? 12 : 30);
const plain: NumaInfo = { nodes: NODES, distance: undefined };
const on = (nodes: readonly number[], preferred = true): Hint => ({ nodes: maskOf(nodes), preferred });
const hintsOf = (...lists: (readonly Hint[] | undefined)[]): Hints =>
  new Map(lists.map((list, at) => [`resource-${at}`, list]));
const shown = ({ hint, admit }: ReturnType<typeof mergeHints>): unknown => [
  hint.nodes === undefined ? 'any' : nodesOf(hint.nodes).join(),
  hint.preferred,
  admit,
];

describe('sets of nodes', () => {
  it('come smallest first, those with low numbers before others', () => {
    expect(masksOf([0, 1, 2]).map((mask) => nodesOf(mask).join())).toEqual([
      '0',
      '1',
      '2',
      '0,1',
      '0,2',
      '1,2',
      '0,1,2',
    ]);
    expect(masksOf([40, 2]).map((mask) => nodesOf(mask).join())).toEqual(['2', '40', '2,40']);
  });
});

describe('merging hints', () => {
  // Cases of kubelet's topologymanager/policy_test.go, for its policies one after the other.
  it.each<[string, readonly Hints[], unknown, unknown, unknown]>([
    [
      'nobody cares',
      [new Map(), hintsOf(undefined)],
      ['0,1,2,3', true, true],
      ['0,1,2,3', true, true],
      ['any', true, true],
    ],
    ['one cares', [hintsOf([on([1])]), new Map()], ['1', true, true], ['1', true, true], ['1', true, true]],
    ['one cannot', [hintsOf([on([0])]), hintsOf([])], ['0', false, true], ['0', false, false], ['any', false, false]],
    [
      'both want the same',
      [hintsOf([on([0]), on([1])]), hintsOf([on([1])])],
      ['1', true, true],
      ['1', true, true],
      ['1', true, true],
    ],
    [
      'they want different ones',
      [hintsOf([on([0])]), hintsOf([on([1])])],
      ['0,1,2,3', false, true],
      ['0,1,2,3', false, false],
      ['any', false, false],
    ],
    [
      'both want two',
      [hintsOf([on([0, 1])]), hintsOf([on([0, 1]), on([2, 3])])],
      ['0,1', true, true],
      ['0,1', true, true],
      ['any', false, false],
    ],
    [
      'what they share is less than one of them needs',
      [hintsOf([on([0]), on([1]), on([0, 1], false)]), hintsOf([on([0, 1], false), on([0, 1, 2], false)])],
      ['0,1', false, true],
      ['0,1', false, false],
      ['any', false, false],
    ],
    [
      'single nodes that nobody prefers',
      [hintsOf([on([2], false)]), hintsOf([on([2])])],
      ['2', false, true],
      ['2', false, false],
      ['any', false, false],
    ],
  ])('%s', (_what, providers, bestEffort, restricted, single) => {
    expect(shown(mergeHints('best-effort', providers, plain))).toEqual(bestEffort);
    expect(shown(mergeHints('restricted', providers, plain))).toEqual(restricted);
    expect(shown(mergeHints('single-numa-node', providers, plain))).toEqual(single);
  });

  it('takes nodes that are near to each other where that is preferred', () => {
    const pairs = [on([0, 1]), on([0, 2]), on([0, 3]), on([1, 2])];
    expect(shown(mergeHints('restricted', [hintsOf(pairs)], plain))).toEqual(['0,1', true, true]);
    expect(shown(mergeHints('restricted', [hintsOf(pairs)], { ...plain, distance: far }))).toEqual(['1,2', true, true]);
  });

  it('comes to what trying every choice comes to', () => {
    const hint = fc.record({
      nodes: fc.option(fc.subarray(NODES, { minLength: 1 }).map(maskOf), { nil: undefined }),
      preferred: fc.boolean(),
    });
    const providers = fc.array(fc.array(fc.array(hint, { maxLength: 5 }), { maxLength: 2 }), { maxLength: 3 });
    fc.assert(
      fc.property(providers, fc.boolean(), (lists, closest) => {
        const numa = { ...plain, distance: closest ? far : undefined };
        const merged = mergeHints(
          'best-effort',
          lists.map((own) => hintsOf(...own)),
          numa,
        );
        expect(merged.hint).toEqual(byEveryChoice(lists, numa));
      }),
      { numRuns: 500 },
    );
  });
});

/** As kubelet's HintMerger goes through all permutations. */
function byEveryChoice(providers: readonly (readonly (readonly Hint[])[])[], numa: NumaInfo): Hint {
  const any: Hint[] = [{ nodes: undefined, preferred: true }];
  const none: Hint[] = [{ nodes: undefined, preferred: false }];
  const lists = providers.flatMap((own) =>
    own.length === 0 ? [any] : own.map((list) => (list.length === 0 ? none : list)),
  );
  const counts = lists.map((list) => list.flatMap(({ nodes }) => (nodes === undefined ? [] : [sizeOf(nodes)])));
  const needed = Math.max(0, ...counts.flatMap((sizes) => (sizes.length === 0 ? [] : [Math.min(...sizes)])));
  const average = (mask: bigint): number => {
    const nodes = nodesOf(mask);
    return nodes.flatMap((a) => nodes.map((b) => far(a, b))).reduce((x, y) => x + y, 0) / nodes.length ** 2;
  };
  const fitter = (current: bigint, candidate: bigint): bigint => {
    const [a, b] = [sizeOf(current), sizeOf(candidate)];
    if (a !== b) return a < b ? current : candidate;
    if (numa.distance !== undefined && average(current) !== average(candidate)) {
      return average(current) < average(candidate) ? current : candidate;
    }
    return current < candidate ? current : candidate;
  };
  let best: { nodes: bigint; preferred: boolean } | undefined;
  const visit = (at: number, chosen: readonly Hint[]): void => {
    const list = lists[at];
    if (list !== undefined) {
      for (const hint of list) visit(at + 1, [...chosen, hint]);
      return;
    }
    const masks = chosen.flatMap(({ nodes }) => (nodes === undefined ? [] : [nodes]));
    const preferred = chosen.every((hint) => hint.preferred) && masks.every((mask) => mask === masks[0]);
    const nodes = masks.reduce((so, mask) => so & mask, maskOf(NODES));
    if (nodes === 0n) return;
    if (best === undefined || best.preferred !== preferred) {
      if (best === undefined || preferred) best = { nodes, preferred };
      return;
    }
    const [now, then] = [sizeOf(best.nodes), sizeOf(nodes)];
    if (preferred || now > needed) best = { nodes: fitter(best.nodes, nodes), preferred };
    else if (now === needed) best = { nodes: then === needed ? fitter(best.nodes, nodes) : best.nodes, preferred };
    else if (then > needed) return;
    else if (then === needed || then > now) best = { nodes, preferred };
    else if (then === now) best = { nodes: fitter(best.nodes, nodes), preferred };
  };
  visit(0, []);
  return best ?? { nodes: maskOf(NODES), preferred: false };
}
