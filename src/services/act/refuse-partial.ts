import { CodedError } from '../../kit/errors.ts';
import type { IPFamily } from '../../model/service.ts';
import type { RuleChange } from '../port.ts';

/** Throws InvalidArgument for a sync of some Services by a backend that believes nothing of the kernel. */
export function refusePartial({ complete }: RuleChange, family: IPFamily, known: boolean): void {
  if (complete || known) return;
  throw new CodedError(
    'InvalidArgument',
    `sync ${family} rules: nothing is known of the kernel, the sync must be complete`,
  );
}
