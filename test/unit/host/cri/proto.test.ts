import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type protobuf from 'protobufjs';
import { expect, test } from 'vitest';
import * as generated from '../../../../src/host/cri/generated/services.js';
import { projectRoot } from '../../../harness/project-root.ts';
import { loadSchema } from './support/raw-runtime.ts';

const schema = loadSchema();

test('the schema has all calls of CRI v1 as of Kubernetes 1.36', () => {
  const names = (service: string): string[] => Object.keys(schema.lookupService(service).methods);
  expect(names('runtime.v1.RuntimeService')).toHaveLength(35);
  expect(names('runtime.v1.ImageService')).toHaveLength(6);
  expect(Object.keys(generated.RuntimeService).sort()).toEqual(names('runtime.v1.RuntimeService').sort());
  expect(generated.RuntimeService.RunPodSandbox.path).toBe('/runtime.v1.RuntimeService/RunPodSandbox');
  expect(generated.ImageService.PullImage.path).toBe('/runtime.v1.ImageService/PullImage');
});

test('field numbers that are easily mistaken are those of the contract', () => {
  const numbers = (type: string, ...fields: string[]): (number | undefined)[] =>
    fields.map((field) => schema.lookupType(`runtime.v1.${type}`).fields[field]?.id);
  expect(numbers('AttachRequest', 'stdin', 'tty', 'stdout', 'stderr')).toEqual([2, 3, 4, 5]);
  expect(numbers('ExecRequest', 'tty', 'stdin', 'stdout', 'stderr')).toEqual([3, 4, 5, 6]);
  expect(numbers('LinuxSandboxSecurityContext', 'runAsGroup', 'supplementalGroupsPolicy')).toEqual([8, 11]);
  expect(numbers('LinuxContainerSecurityContext', 'runAsGroup', 'noNewPrivs', 'seccomp', 'apparmor')).toEqual([
    12, 11, 15, 16,
  ]);
  expect(numbers('ImageSpec', 'userSpecifiedImage', 'runtimeHandler', 'imageRef')).toEqual([18, 19, 20]);
  expect(numbers('Namespace', 'options')).toEqual([2]);
  expect(numbers('UpdateContainerResourcesRequest', 'linux', 'annotations')).toEqual([2, 4]);
});

test('generated encoders write what reflection reads', () => {
  const scalar = (field: protobuf.Field): fc.Arbitrary<unknown> => {
    if (field.type === 'string') return fc.string({ unit: 'grapheme' });
    if (field.type === 'bool') return fc.boolean();
    if (field.type === 'int64') return fc.maxSafeInteger();
    if (field.type === 'uint64') return fc.maxSafeNat();
    if (field.type === 'uint32') return fc.nat();
    return fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  };
  const value = (field: protobuf.Field): fc.Arbitrary<unknown> => {
    const { resolvedType } = field;
    const one =
      resolvedType === null ? scalar(field) : 'fields' in resolvedType ? message(resolvedType as never) : fc.nat(1);
    if (field.map)
      return fc.dictionary(
        fc.string({ minLength: 1 }).filter((key) => key !== '__proto__'),
        one,
        { maxKeys: 2 },
      );
    return field.repeated ? fc.array(one, { maxLength: 2 }) : one;
  };
  const message = (type: protobuf.Type): fc.Arbitrary<object> =>
    fc.record(Object.fromEntries(type.fieldsArray.map((field) => [field.name, value(field)])), { requiredKeys: [] });

  for (const [name, method] of Object.entries(generated.RuntimeService)) {
    const type = schema.lookupService('runtime.v1.RuntimeService').methods[name]?.resolvedRequestType;
    if (!type) throw new Error(name);
    fc.assert(
      fc.property(message(type), (request) => {
        const bytes = method.encode(request as never);
        expect(type.toObject(type.decode(bytes), { longs: Number })).toEqual(
          type.toObject(type.decode(type.encode(type.fromObject(request)).finish()), { longs: Number }),
        );
      }),
      { numRuns: 10, seed: 1 },
    );
  }
});

test('generating again does nothing while the outputs are newer', () => {
  const output = join(projectRoot(), 'src/host/cri/generated/services.js');
  const before = statSync(output).mtimeMs;
  execFileSync(process.execPath, [join(projectRoot(), 'scripts/generate-proto.mjs')]);
  expect(statSync(output).mtimeMs).toBe(before);
});
