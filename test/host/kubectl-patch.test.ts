import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resources } from '../../src/model/resource.ts';
import { strategicMergePatch } from '../../src/standalone/patch/strategic-merge-patch.ts';
import { SchemaTree } from '../../src/standalone/schema/schema-tree.ts';
import { strategicCases } from '../unit/standalone/patch/strategic-cases.ts';

const KUBECTL = '/usr/bin/kubectl';
const missing = existsSync(KUBECTL) ? undefined : `${KUBECTL} is not installed`;
const schema = new SchemaTree().rootOf(resources.pods);

/** The reference: apimachinery's own strategic merge, in kubectl. */
function reference(target: object, patch: object): unknown {
  const output = execFileSync(
    KUBECTL,
    ['patch', '--local', '-f', '-', '--type=strategic', '-p', JSON.stringify(patch), '-o', 'json'],
    {
      input: JSON.stringify(whole(target)),
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  return withoutEmpty(JSON.parse(output.toString()));
}

function whole(target: object): object {
  const { metadata = {} } = target as { metadata?: object };
  return { apiVersion: 'v1', kind: 'Pod', ...target, metadata: { name: 'p', ...metadata } };
}

// Go leaves empty objects and lists out, or writes null and {} for its zero values.
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, withoutEmpty(inner)] as const);
  return Object.fromEntries(
    entries.filter(
      ([, inner]) => inner !== null && !(typeof inner === 'object' && Object.keys(inner as object).length === 0),
    ),
  );
}

describe.skipIf(missing !== undefined)(
  `strategic merge patch as kubectl does it${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    it.each(strategicCases)('%s', (_title, target, patch) => {
      expect(withoutEmpty(strategicMergePatch(whole(target), patch, schema))).toEqual(reference(target, patch));
    });

    it('for containers and finalizers of all sorts', () => {
      const name = fc.constantFrom('a', 'b', 'c', 'd');
      const container = fc.record({ name, image: fc.constantFrom('x', 'y') });
      const containers = fc.uniqueArray(container, { selector: (one) => one.name, maxLength: 4 });
      const finalizers = fc.uniqueArray(fc.constantFrom('e.x/1', 'e.x/2', 'e.x/3'), { maxLength: 3 });
      const scenario = fc.record({
        before: fc.record({ containers, finalizers }),
        patch: fc.record({
          containers,
          removed: fc.subarray(['a', 'b', 'c', 'd']),
          order: fc.boolean(),
          finalizers,
          without: finalizers,
        }),
      });
      fc.assert(
        fc.property(scenario, ({ before, patch }) => {
          const target = { metadata: { finalizers: before.finalizers }, spec: { containers: before.containers } };
          const removals = patch.removed
            .filter((one) => !patch.containers.some((other) => other.name === one))
            .map((one) => ({ $patch: 'delete', name: one }));
          const kept = before.containers.filter((one) => !removals.some((other) => other.name === one.name));
          const named = [...patch.containers, ...kept].map((one) => one.name);
          const order = [...new Set(named)].map((one) => ({ name: one }));
          // kubectl fails to put the items of no list at all into an order ("no elements in any of the given slices").
          fc.pre(!patch.order || named.length + removals.length > 0);
          const spec = {
            containers: [...patch.containers, ...removals],
            ...(patch.order ? { '$setElementOrder/containers': order } : {}),
          };
          // To add and delete the same value makes no sense, and Go's answer depends on the order of a map.
          const without = patch.without.filter((one) => !patch.finalizers.includes(one));
          const metadata = { finalizers: patch.finalizers, '$deleteFromPrimitiveList/finalizers': without };
          const change = { metadata, spec };
          expect(withoutEmpty(strategicMergePatch(whole(target), change, schema))).toEqual(reference(target, change));
        }),
        { numRuns: 40 },
      );
    });
  },
);
