import { describe, expect, it } from 'vitest';
import { pullStepError } from '../../../../src/pods/images/pull-error.ts';

describe('a pull that failed', () => {
  it.each([
    ['RegistryUnavailable: no route', 'RegistryUnavailable', 'because the registry is unavailable: no route'],
    [
      'SignatureValidationFailed: no key',
      'SignatureValidationFailed',
      'because the signature validation failed: no key',
    ],
  ])('as the runtime says with %s is %s', (text, reason, words) => {
    expect(pullStepError('img:1', text, undefined)).toMatchObject({
      reason,
      message: `image pull failed for img:1 ${words}`,
    });
  });

  it('otherwise is ErrImagePull, also where the runtime names it in the middle of a text', () => {
    const text = 'pull: RegistryUnavailable';
    expect(pullStepError('img:1', text, undefined)).toMatchObject({ reason: 'ErrImagePull', message: text });
  });
});
