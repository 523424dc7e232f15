import { applyPatch, type Operation } from 'rfc6902';
import { CodedError } from '../../kit/errors.ts';
import { isObject } from './json-value.ts';

const OPERATIONS: ReadonlySet<unknown> = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test']);
// As kube-apiserver limits them (maxJSONPatchOperations in patch.go).
const MAX_OPERATIONS = 10_000;

/**
 * RFC 6902 on a copy of `target`. Throws InvalidArgument for a document that is no patch, and InvalidObject when an
 * operation cannot be carried out (a path that is not there, a test that fails).
 */
export function jsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw new CodedError('InvalidArgument', 'a JSON patch must be a list of operations');
  if (patch.length > MAX_OPERATIONS) {
    throw new CodedError(
      'InvalidArgument',
      `a JSON patch has ${patch.length} operations, at most ${MAX_OPERATIONS} are allowed`,
    );
  }
  for (const operation of patch) checkOperation(operation);
  const result = structuredClone(target);
  const errors = applyPatch(result, patch as Operation[]);
  for (const [index, error] of errors.entries()) {
    if (error === null) continue;
    const { op, path } = patch[index] as Operation;
    throw new CodedError('InvalidObject', `operation ${index} of the JSON patch (${op} ${path}): ${error.message}`);
  }
  return result;
}

function checkOperation(operation: unknown): void {
  if (!isObject(operation) || !OPERATIONS.has(operation['op'])) {
    throw new CodedError('InvalidArgument', `a JSON patch has an operation that is none: ${JSON.stringify(operation)}`);
  }
  const { op, path, from } = operation;
  if (typeof path !== 'string' || (path !== '' && !path.startsWith('/'))) {
    throw new CodedError(
      'InvalidArgument',
      `JSON patch: ${op} needs a path that starts with "/", not ${JSON.stringify(path)}`,
    );
  }
  if ((op === 'move' || op === 'copy') && typeof from !== 'string') {
    throw new CodedError('InvalidArgument', `JSON patch: ${op} ${path} needs "from"`);
  }
  if ((op === 'add' || op === 'replace' || op === 'test') && !Object.hasOwn(operation, 'value')) {
    throw new CodedError('InvalidArgument', `JSON patch: ${op} ${path} needs "value"`);
  }
  if (op === 'remove' && path === '')
    throw new CodedError('InvalidArgument', 'JSON patch: the whole object cannot be removed');
}
