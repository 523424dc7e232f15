import { CodedError } from '../../kit/errors.ts';
import type { Container } from '../../model/pod.ts';

/** Refuses a container that asks for what this node does not have; run without it, it would do something else. */
export function refuseUnsupported({ name, lifecycle }: Container): void {
  const stopSignal = lifecycle?.stopSignal;
  if (stopSignal === undefined) return;
  throw new CodedError(
    'Unimplemented',
    `container ${name}: lifecycle.stopSignal is ${stopSignal}, but deckhand does not have the alpha feature ContainerStopSignals; expected none`,
    { container: name },
  );
}
