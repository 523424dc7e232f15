import { CodedError } from '../../kit/errors.ts';
import type { IntOrString } from '../../model/meta.ts';
import type { Container } from '../../model/pod.ts';

/** A port by number, by number in text, or by the name of one of the container's ports. Throws InvalidObject. */
export function portNumber(port: IntOrString, container: Container): number {
  const number =
    typeof port === 'number'
      ? port
      : (container.ports?.find(({ name }) => name === port)?.containerPort ?? Number.parseInt(port, 10));
  if (Number.isInteger(number) && number > 0 && number < 65_536) return number;
  throw new CodedError(
    'InvalidObject',
    `port ${JSON.stringify(port)} is neither 1..65535 nor a port name of container ${container.name}`,
  );
}
