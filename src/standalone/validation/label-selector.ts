import type { LabelSelector } from '../../model/meta.ts';
import { labelValueError, qualifiedNameError } from '../../model/names.ts';
import type { FieldError } from '../port.ts';
import { child, forbidden, invalid, required } from './field-errors.ts';
import { labelErrors } from './object-meta.ts';

/** ValidateLabelSelector (apimachinery pkg/apis/meta/v1/validation); the operator's set is in the schema. */
export function validateLabelSelector(selector: LabelSelector | undefined, path: string): FieldError[] {
  if (selector === undefined) return [];
  const errors = labelErrors(selector.matchLabels, child(path, 'matchLabels'));
  for (const [index, expression] of (selector.matchExpressions ?? []).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    const values = expression.values ?? [];
    if (expression.operator === 'In' || expression.operator === 'NotIn') {
      if (values.length === 0) {
        errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    } else if ((expression.operator === 'Exists' || expression.operator === 'DoesNotExist') && values.length > 0) {
      errors.push(forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    }
    const keyError = qualifiedNameError(expression.key ?? '');
    if (keyError !== undefined) errors.push(invalid(`${at}.key`, expression.key ?? '', keyError));
    for (const [position, value] of values.entries()) {
      const error = labelValueError(value);
      if (error !== undefined) errors.push(invalid(`${at}.values[${position}]`, value, error));
    }
  }
  return errors;
}
