import type { Container, ContainerRestartRule, Pod } from './pod.ts';

/** The first of the container's restartPolicyRules that says something of this exit code (KEP-5307). */
export function matchingRule(container: Container, exitCode: number): ContainerRestartRule | undefined {
  return container.restartPolicyRules?.find(({ exitCodes }) => {
    if (exitCodes === undefined) return false;
    return (exitCodes.values ?? []).includes(exitCode) === (exitCodes.operator === 'In');
  });
}

/** Some exit of one of its containers restarts the whole pod in place (KEP-5532). */
export function canRestartAll({ spec }: Pick<Pod, 'spec'>): boolean {
  return [...(spec.initContainers ?? []), ...spec.containers].some(({ restartPolicyRules = [] }) =>
    restartPolicyRules.some(({ action }) => action === 'RestartAllContainers'),
  );
}
