import { dns1123LabelError, labelValueError, qualifiedNameError } from '../../model/names.ts';
import type { RuntimeClass } from '../../model/objects.ts';
import type { FieldError } from '../port.ts';
import { duplicate, invalid, required } from './field-errors.ts';
import { quantityErrors } from './resource-requirements.ts';
import { validateTolerations } from './scheduling.ts';

/** ValidateRuntimeClass, ValidateRuntimeClassUpdate (pkg/apis/node/validation). */
export function validateRuntimeClass(cls: RuntimeClass, previous: RuntimeClass | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const { handler = '' } = cls;
  if (handler === '') errors.push(required('handler'));
  else {
    const error = dns1123LabelError(handler);
    if (error !== undefined) errors.push(invalid('handler', handler, error));
  }
  if (previous !== undefined) {
    if (previous.handler !== cls.handler) errors.push(invalid('handler', cls.handler, 'field is immutable'));
    return errors;
  }
  const { podFixed = {} } = cls.overhead ?? {};
  for (const name of Object.keys(podFixed)) errors.push(...quantityErrors(name, podFixed, 'overhead.podFixed'));
  const { nodeSelector = {}, tolerations = [] } = cls.scheduling ?? {};
  for (const [key, value] of Object.entries(nodeSelector)) {
    const error = qualifiedNameError(key) ?? labelValueError(value);
    if (error !== undefined) errors.push(invalid('scheduling.nodeSelector', key, error));
  }
  errors.push(...validateTolerations(tolerations, 'scheduling.tolerations'));
  const seen = new Set<string>();
  for (const [index, { key, operator, value, effect }] of tolerations.entries()) {
    const identity = JSON.stringify([key, operator, value, effect]);
    if (seen.has(identity)) errors.push(duplicate(`scheduling.tolerations[${index}]`, tolerations[index]));
    seen.add(identity);
  }
  return errors;
}
